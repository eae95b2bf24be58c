//! The program `tracker` as a process: what it prints, how it exits, what signals do.

mod configuration;
mod process;
mod signals;
