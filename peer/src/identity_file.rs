//! Keeps a peer's keys in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use easypeers::Identity;
use zeroize::Zeroizing;

/// Reads the keys, or creates the file with new ones if it does not exist.
pub(crate) fn load(path: &Path) -> anyhow::Result<Arc<Identity>> {
    let named = || format!("identity file {}", path.display());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return create(path).with_context(named);
        }
        Err(error) => return Err(error).with_context(named),
    };
    if metadata.mode() & 0o077 != 0 {
        bail!(
            "{}: other users can read it (mode {:o}), but it holds a secret; run chmod 600 {}",
            named(),
            metadata.mode() & 0o777,
            path.display()
        );
    }
    let text = Zeroizing::new(fs::read_to_string(path).with_context(named)?);
    Ok(Arc::new(Identity::from_text(&text).with_context(named)?))
}

fn create(path: &Path) -> anyhow::Result<Arc<Identity>> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(&mut *seed);
    let identity = Identity::from_seed(&seed);
    // The file appears under its name only when it is complete, and replaces no other: a hard link
    // fails if the name exists.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = Path::new(&draft);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .and_then(|mut file| {
            file.write_all(identity.to_text().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(draft, path));
    let removed = fs::remove_file(draft);
    written.and(removed)?;
    Ok(Arc::new(identity))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A new folder, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_same_file_is_the_same_peer() {
        let folder = Folder::new("identity-kept");
        let path = folder.0.join("me");
        let first = load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load(&path).unwrap().address(), first.address());
        assert_eq!(
            fs::read_dir(&folder.0).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_no_keys_is_refused() {
        let folder = Folder::new("identity-refused");
        let path = folder.0.join("me");
        load(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = format!("{:#}", load(&path).unwrap_err());
        assert!(
            error.contains("640") && error.contains("chmod 600"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hello\n").unwrap();
        let error = format!("{:#}", load(&path).unwrap_err());
        assert!(error.contains("identity file"), "{error}");
        let error = format!("{:#}", load(&folder.0.join("no/folder")).unwrap_err());
        assert!(error.contains("No such file"), "{error}");
    }
}
