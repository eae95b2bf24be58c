//! The binary: command line, signals, exit status, what a supervisor is told.

mod supervisor;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracker::cli::{CliError, Invocation, parse};
use tracker::config::{Listen, LogFormat};
use tracker::log::Filter;
use tracker::{Inherited, Reloader, Server, Settings, healthcheck};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(std::env::args_os().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<CliError>() {
            // Help and version are no failures; clap knows where each belongs.
            Ok(CliError::Usage(usage)) => {
                let _ = usage.print();
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1))
            }
            Ok(error) => fail(&error.into()),
            Err(error) => fail(&error),
        },
    }
}

/// A line on stdout: what was asked for goes there, logs go to stderr. A reader that went away, as
/// `head` does, must not stop a server.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    match parse(arguments.clone())? {
        Invocation::Serve(settings) => serve(settings, arguments),
        Invocation::CheckConfig(settings, lines) => {
            say(&lines.join("\n"));
            check(settings)
        }
        Invocation::Healthcheck(settings) => {
            if let Err(reason) = healthcheck(&settings) {
                bail!("unhealthy: {reason}");
            }
            say("healthy");
            Ok(())
        }
        Invocation::Print(text) => std::io::stdout()
            .write_all(&text)
            .context("cannot write to stdout"),
    }
}

/// Reads every file and tries every address, on free ports where the wanted one is in use, as it
/// is when the tracker runs already.
fn check(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let mut settings = settings;
    let folder_of = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.is_dir(),
        _ => true,
    };
    // Whoever serves makes it, as the user that serves.
    if let Some(file) = settings.tls_self_signed.take_if(|file| !file.exists())
        && !folder_of(&file)
    {
        bail!("cannot make {}: there is no folder for it", file.display());
    }
    for listen in &mut settings.listen {
        match listen {
            Listen::Tcp(address) => address.set_port(0),
            Listen::Unix(path) => {
                if !folder_of(path) {
                    bail!("cannot listen on {listen}: there is no folder for it");
                }
            }
        }
    }
    settings
        .listen
        .retain(|listen| matches!(listen, Listen::Tcp(_)));
    let (cluster, required) = (settings.cluster_url.clone(), settings.cluster_required);
    Server::bind(settings)?;
    if let Some(url) = cluster
        && let Err(error) = runtime.block_on(Box::pin(tracker::check_cluster(&url)))
    {
        if required {
            bail!("cluster {url}: {error}");
        }
        let _ = writeln!(
            std::io::stderr(),
            "warning: cluster {url}: {error}; the tracker would serve alone and try again"
        );
    }
    say("ok");
    Ok(())
}

fn serve(settings: Settings, arguments: Vec<OsString>) -> anyhow::Result<()> {
    let filter = tracker::log::start(settings.log_format, &settings.log_level)
        .map_err(anyhow::Error::msg)?;
    let fd_limit = raise_fd_limit();
    // Before there are threads: it takes the variables out of the environment.
    let inherited = Inherited::from_env().context("cannot use the inherited sockets")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = settings.workers {
        runtime.worker_threads(workers);
    }
    let runtime = runtime
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async move {
        let format = settings.log_format;
        let server = Server::bind_or_inherit(settings, inherited)?;
        let reloader = server.reloader();
        let watchdog = tokio::spawn(supervisor::watchdog(server.reloader()));
        // Before it says that it serves: whoever reads that may signal at once.
        let hangups = signal(SignalKind::hangup())?;
        let reloads = tokio::spawn(reload(hangups, reloader, filter, arguments));
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        announce(&server, format, fd_limit);
        supervisor::ready();
        let shutdown = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            supervisor::stopping();
            // A second signal does not wait for anybody.
            tokio::spawn(async move {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                tracing::warn!("second signal: exiting at once");
                #[expect(clippy::exit, reason = "the operator asked twice")]
                std::process::exit(1);
            });
        };
        server.run(shutdown).await;
        reloads.abort();
        watchdog.abort();
        tracing::info!("stopped");
        Ok(())
    })
}

/// Says where page and WebSocket are, in words or as a log line.
fn announce(server: &Server, format: LogFormat, fd_limit: Option<u64>) {
    let secure = if server.is_tls() { "s" } else { "" };
    let trust = server.trust();
    for listen in server.listens() {
        let host = match (listen, format) {
            (Listen::Tcp(address), _) if address.ip().is_unspecified() => {
                format!("localhost:{}", address.port())
            }
            (Listen::Tcp(address), _) => address.to_string(),
            (Listen::Unix(_), LogFormat::Text) => {
                say(&format!("socket     {listen}"));
                continue;
            }
            (Listen::Unix(_), LogFormat::Json) => {
                tracing::info!(socket = %listen, "listening");
                continue;
            }
        };
        let (page, socket) = (
            format!("http{secure}://{host}/"),
            format!("ws{secure}://{host}"),
        );
        match format {
            LogFormat::Text => {
                say(&format!("page       {page}"));
                say(&format!("websocket  {socket}"));
                if trust.is_some() {
                    say(&format!("trust      {page}trust"));
                }
            }
            LogFormat::Json => tracing::info!(page, websocket = socket, "listening"),
        }
    }
    if let Some(trust) = trust {
        let fingerprint = &trust.fingerprint;
        match format {
            LogFormat::Text => say(&format!("SHA-256    {fingerprint}")),
            LogFormat::Json => tracing::info!(fingerprint, "certificate of our own"),
        }
    }
    tracing::info!(
        version = tracker::VERSION,
        revision = tracker::REVISION,
        max_connections = server.max_connections(),
        fd_limit,
        "serving"
    );
}

/// On every SIGHUP, reads command line, environment and files again and applies what may change.
async fn reload(mut hangups: Signal, reloader: Reloader, filter: Filter, arguments: Vec<OsString>) {
    while hangups.recv().await.is_some() {
        supervisor::reloading();
        reload_once(&reloader, &filter, &arguments);
        supervisor::ready();
    }
}

fn reload_once(reloader: &Reloader, filter: &Filter, arguments: &[OsString]) {
    let settings = match parse(arguments.iter().cloned()) {
        Ok(Invocation::Serve(settings)) => settings,
        Ok(_) => return,
        Err(error) => {
            reloader.failed();
            tracing::error!(%error, "reload failed, everything stays as it was");
            return;
        }
    };
    if let Err(error) = reloader.reload(&settings) {
        tracing::error!(%error, "reload failed, everything stays as it was");
        return;
    }
    match filter.set(&settings.log_level) {
        Ok(()) => tracing::info!("reloaded lists, origins, TLS files and log level"),
        Err(error) => tracing::error!(error, "log level stays as it was"),
    }
}

/// Every connection is a file descriptor: takes as many as the system gives, and says how many.
fn raise_fd_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the file descriptor limit");
            limit.current
        }
    }
}
