//! Numbers of the crate `num-bigint`.

use num_bigint::BigUint;
use num_integer::Integer;

pub(in super::super) type Number = BigUint;

pub(in super::super) fn small(value: u32) -> Number {
    value.into()
}

/// The most significant byte first.
pub(in super::super) fn from_bytes(bytes: &[u8]) -> Number {
    BigUint::from_bytes_be(bytes)
}

/// A text of decimal digits.
pub(in super::super) fn parse(digits: &str) -> Option<Number> {
    BigUint::parse_bytes(digits.as_bytes(), 10)
}

pub(in super::super) fn decimal(number: &Number) -> String {
    number.to_string()
}

pub(in super::super) fn bits(number: &Number) -> u64 {
    number.bits()
}

pub(in super::super) fn is_odd(number: &Number) -> bool {
    number.bit(0)
}

/// base^exponent mod modulus.
pub(in super::super) fn power(base: &Number, exponent: &Number, modulus: &Number) -> Number {
    base.modpow(exponent, modulus)
}

pub(in super::super) fn inverse(number: &Number, modulus: &Number) -> Option<Number> {
    number.modinv(modulus)
}

/// Whether there is a number above 1 that divides both.
pub(in super::super) fn shares_factor(a: &Number, b: &Number) -> bool {
    a.gcd(b) != small(1)
}
