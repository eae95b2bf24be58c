//! Random primes, by Miller-Rabin. They are good enough for keys that protect nothing: anyone who has the
//! public key of an Easypeers 1 peer can do all that its owner can.

use super::number::{Number, bits, from_bytes, is_odd, power, small};

/// Rounds of Miller-Rabin. A random composite of 64 bits or more survives 24 rounds with a probability far
/// below 2^-48.
const ROUNDS: usize = 24;

/// Divisors that are tried first. They sort out three quarters of the odd candidates.
const SMALL: [u32; 24] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
];

/// A number below `bound`, or 0 if `bound` is 0, with a bias below 2^-64.
pub(super) fn below(bound: &Number, fill: &mut dyn FnMut(&mut [u8])) -> Number {
    let mut bytes = vec![0; bits(bound) as usize / 8 + 9];
    fill(&mut bytes);
    if *bound == small(0) {
        return small(0);
    }
    from_bytes(&bytes) % bound
}

/// A prime of exactly `length` bits (32 or more) whose two highest bits are set, so that the product
/// of two such primes has exactly twice the bits. It is not `other`.
pub(super) fn prime(length: u64, other: &Number, fill: &mut dyn FnMut(&mut [u8])) -> Number {
    let quarter = (2..length).fold(small(1), |number, _| number * small(2));
    let lowest = small(3) * &quarter;
    let mut candidate = &lowest + below(&quarter, fill);
    if !is_odd(&candidate) {
        candidate = &candidate + small(1);
    }
    // Counts up from a random start and wraps around: this ends whatever `fill` gives.
    loop {
        if bits(&candidate) > length {
            candidate = &lowest + small(1);
        }
        if candidate != *other && is_prime(&candidate, fill) {
            return candidate;
        }
        candidate = &candidate + small(2);
    }
}

/// Whether an odd number above 100 is (almost certainly) prime.
fn is_prime(number: &Number, fill: &mut dyn FnMut(&mut [u8])) -> bool {
    if SMALL
        .iter()
        .any(|&divisor| number % small(divisor) == small(0))
    {
        return false;
    }
    let one = small(1);
    let minus_one = number - &one;
    let (mut odd, mut twos) = (minus_one.clone(), 0);
    while !is_odd(&odd) {
        odd = &odd / small(2);
        twos += 1;
    }
    (0..ROUNDS).all(|_| {
        let base = below(&(number - small(3)), fill) + small(2);
        let mut witness = power(&base, &odd, number);
        if witness == one || witness == minus_one {
            return true;
        }
        (1..twos).any(|_| {
            witness = &witness * &witness % number;
            witness == minus_one
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
        let mersenne =
            |bits: u32| (0..bits).fold(small(1), |number, _| number * small(2)) - small(1);
        for prime in [small(101), small(104_729), mersenne(61), mersenne(127)] {
            assert!(is_prime(&prime, &mut fill), "{prime}");
        }
        // Products of two primes, a Mersenne composite.
        let product = small(1_000_003) * small(1_000_033);
        for composite in [small(101 * 103), product, mersenne(59)] {
            assert!(!is_prime(&composite, &mut fill), "{composite}");
        }
    }

    #[test]
    fn a_broken_source_of_randomness_still_ends() {
        for constant in [0, 0xff] {
            let mut fill = |out: &mut [u8]| out.fill(constant);
            let p = prime(64, &small(0), &mut fill);
            let q = prime(64, &p, &mut fill);
            assert_ne!(p, q);
            assert_eq!((bits(&p), bits(&q), bits(&(p * q))), (64, 64, 128));
        }
    }
}
