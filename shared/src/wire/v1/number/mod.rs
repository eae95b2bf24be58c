//! Whole numbers of any size and modular arithmetic: natively with the crate `num-bigint`, in a page with the
//! browser's own `BigInt`, which costs no code and is fast.
//!
//! Operators are those of the number itself, between numbers and references to them.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub(super) use browser::{
    Number, bits, decimal, from_bytes, inverse, is_odd, parse, power, shares_factor, small,
};
#[cfg(not(target_family = "wasm"))]
pub(super) use native::{
    Number, bits, decimal, from_bytes, inverse, is_odd, parse, power, shares_factor, small,
};
