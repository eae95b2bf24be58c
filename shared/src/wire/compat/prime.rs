//! Random primes, by Miller-Rabin. Good enough for keys that protect nothing: whoever has the public
//! key of an Easypeers 1 peer can do all that its owner can.

use num_bigint::BigUint;

/// Rounds of Miller-Rabin; a random composite of 64 bits and more survives 24 with a probability
/// far below 2^-48.
const ROUNDS: usize = 24;

/// Divisors tried first; they sort out three quarters of the odd candidates.
const SMALL: [u32; 24] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
];

/// A number below `bound` (0 if `bound` is), with a bias below 2^-64.
pub(super) fn below(bound: &BigUint, fill: &mut dyn FnMut(&mut [u8])) -> BigUint {
    let mut bytes = vec![0; bound.bits() as usize / 8 + 9];
    fill(&mut bytes);
    if bound.bits() == 0 {
        return BigUint::ZERO;
    }
    BigUint::from_bytes_be(&bytes) % bound
}

/// A prime of exactly `bits` bits (32 or more) whose two highest bits are set, so that the product
/// of two such primes has exactly twice the bits. It is not `other`.
pub(super) fn prime(bits: u64, other: &BigUint, fill: &mut dyn FnMut(&mut [u8])) -> BigUint {
    let lowest = BigUint::from(3u8) << (bits - 2);
    let span = BigUint::from(1u8) << (bits - 2);
    let mut candidate = &lowest + below(&span, fill);
    candidate.set_bit(0, true);
    // Upwards from a random start, and round: ends whatever `fill` gives.
    loop {
        if candidate.bits() > bits {
            candidate = &lowest + 1u8;
        }
        if candidate != *other && is_prime(&candidate, fill) {
            return candidate;
        }
        candidate += 2u8;
    }
}

/// Whether an odd number above 100 is (almost certainly) prime.
fn is_prime(number: &BigUint, fill: &mut dyn FnMut(&mut [u8])) -> bool {
    let zero = BigUint::ZERO;
    if SMALL.iter().any(|&divisor| number % divisor == zero) {
        return false;
    }
    let one = BigUint::from(1u8);
    let minus_one = number - 1u8;
    let twos = minus_one.trailing_zeros().unwrap_or_default();
    let odd = &minus_one >> twos;
    (0..ROUNDS).all(|_| {
        let base = below(&(number - 3u8), fill) + 2u8;
        let mut power = base.modpow(&odd, number);
        if power == one || power == minus_one {
            return true;
        }
        (1..twos).any(|_| {
            power = &power * &power % number;
            power == minus_one
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_primes_and_composites_are_told_apart() {
        let mut byte = 0u8;
        let mut fill = |out: &mut [u8]| {
            for slot in out {
                byte = byte.wrapping_mul(77).wrapping_add(13);
                *slot = byte;
            }
        };
        let mersenne = |bits: u32| (BigUint::from(1u8) << bits) - 1u8;
        for prime in [
            101u32.into(),
            104_729u32.into(),
            mersenne(61),
            mersenne(127),
        ] {
            assert!(is_prime(&prime, &mut fill), "{prime}");
        }
        // Products of two primes, a Mersenne composite.
        for composite in [101u64 * 103, 1_000_003 * 1_000_033, (1 << 59) - 1] {
            assert!(!is_prime(&composite.into(), &mut fill), "{composite}");
        }
    }

    #[test]
    fn a_broken_source_of_randomness_still_ends() {
        for constant in [0, 0xff] {
            let mut fill = |out: &mut [u8]| out.fill(constant);
            let p = prime(64, &BigUint::ZERO, &mut fill);
            let q = prime(64, &p, &mut fill);
            assert_ne!(p, q);
            assert_eq!((p.bits(), q.bits(), (p * q).bits()), (64, 64, 128));
        }
    }
}
