//! Integration tests: the public interface of the crates, one module per subject.

mod ws_conformance;
