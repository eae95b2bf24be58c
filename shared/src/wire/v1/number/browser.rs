//! The browser's `BigInt`.

use data_encoding::HEXLOWER;
use js_sys::BigInt;

pub(in super::super) type Number = BigInt;

pub(in super::super) fn small(value: u32) -> Number {
    value.into()
}

/// The most significant byte first.
pub(in super::super) fn from_bytes(bytes: &[u8]) -> Number {
    let text = format!("0x0{}", HEXLOWER.encode(bytes));
    // This text is always a number.
    BigInt::new(&text.into()).unwrap_or_default()
}

/// A text of decimal digits.
pub(in super::super) fn parse(digits: &str) -> Option<Number> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    BigInt::new(&digits.into()).ok()
}

fn digits(number: &Number, radix: u8) -> String {
    // Only an invalid radix is refused.
    number
        .to_string(radix)
        .map(String::from)
        .unwrap_or_default()
}

pub(in super::super) fn decimal(number: &Number) -> String {
    digits(number, 10)
}

pub(in super::super) fn bits(number: &Number) -> u64 {
    let bits = digits(number, 2);
    if bits == "0" { 0 } else { bits.len() as u64 }
}

pub(in super::super) fn is_odd(number: &Number) -> bool {
    number % small(2) == small(1)
}

/// base^exponent mod modulus, four bits of the exponent at a time.
pub(in super::super) fn power(base: &Number, exponent: &Number, modulus: &Number) -> Number {
    let mut powers = vec![small(1) % modulus];
    for at in 0..15 {
        powers.push(&powers[at] * base % modulus);
    }
    let mut result = powers[0].clone();
    for digit in digits(exponent, 16).chars() {
        for _ in 0..4 {
            result = &result * &result % modulus;
        }
        match digit.to_digit(16) {
            None | Some(0) => {}
            Some(digit) => result = result * &powers[digit as usize] % modulus,
        }
    }
    result
}

/// Euclid's algorithm, with the factor of `number` on the way.
pub(in super::super) fn inverse(number: &Number, modulus: &Number) -> Option<Number> {
    let (mut a, mut b) = (number % modulus, modulus.clone());
    let (mut x, mut y) = (small(1), small(0));
    while b != small(0) {
        let quotient = &a / &b;
        (a, b) = (b.clone(), a - &quotient * &b);
        (x, y) = (y.clone(), x - &quotient * &y);
    }
    (a == small(1)).then(|| (x % modulus + modulus) % modulus)
}

/// Whether there is a number above 1 that divides both.
pub(in super::super) fn shares_factor(a: &Number, b: &Number) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    while b != small(0) {
        (a, b) = (b.clone(), a % b);
    }
    a != small(1)
}
