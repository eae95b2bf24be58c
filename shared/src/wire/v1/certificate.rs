//! The certificate of an Easypeers 1 message: for each of `id`, `from` and `message` a proof that a
//! Paillier ciphertext hides that text, and the public key it was made with. All numbers are decimal
//! strings. C(x) is short for `{"cipher", "proof": {"a", "e", "z"}}`:
//!
//! ```text
//! m = UTF-8 of x as a big-endian integer; r, w random units
//! cipher = g^m r^n mod n²    a = w^n mod n²    e = SHA-256(decimal text of a)    z = w r^e mod n
//! valid: e is that hash, and z^n = a (cipher / g^m)^e mod n²
//! ```
//!
//! **It is a checksum, not a signature.** Making one takes only the public key, which is in every message, and no
//! key is bound to an address. Anybody can certify any text as anybody's. Peers of Easypeers 1 drop messages
//! without a valid certificate, which is the only reason why we make and check them.
//!
//! We check more than Easypeers 1 does, but only what all of its own certificates fulfil: `n` is odd and has
//! [`MIN_KEY_BITS`] to [`MAX_KEY_BITS`] bits, `_n2` equals n², and every number is a reduced unit. This refuses
//! the constant that certifies every text, and keys that are too small to mean anything. A proof made by a third
//! party passes, and so does one shifted from another text, because Easypeers 1 accepts them.
//!
//! Checking takes modular powers, the largest with the text as exponent. Texts are therefore limited to
//! [`MAX_TEXT`], and all cheap checks come first. Our own keys use g = n + 1, for which the power is a product,
//! whatever the text.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::MAX_TEXT;
use super::number::{self, Number, bits, decimal, power, small};
use super::prime::{below, prime};

/// Bits of the smallest modulus that we accept. Easypeers 1 makes 256 bits (0.1) and 512 bits (0.3).
pub const MIN_KEY_BITS: u64 = 128;

/// Bits of the largest modulus accepted, which is that of Easypeers 1. A key of
/// 1,024 bits would make the most expensive message 2.7 times as expensive.
pub const MAX_KEY_BITS: u64 = 512;

/// Decimal digits of the largest number: n² of [`MAX_KEY_BITS`].
const MAX_DIGITS: usize = 309;

/// Why a certificate is refused, or a key or certificate not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not an object with the parts it must have.
    #[error("part of the certificate is missing or of another type")]
    Shape,
    /// A number that is not decimal or too long.
    #[error("not a decimal number of bearable length")]
    Number,
    /// The modulus is even, or has too few or too many bits.
    #[error("key size is not accepted")]
    KeySize,
    /// `_n2` is not the square of `n`.
    #[error("_n2 is not the square of n")]
    Square,
    /// A number that is not reduced, or shares a factor with `n`.
    #[error("a number is not a unit")]
    NotAUnit,
    /// A text longer than [`MAX_TEXT`].
    #[error("text of {0} bytes is too long")]
    TextLength(usize),
    /// `e` is not the hash of `a`.
    #[error("challenge is not the hash of the commitment")]
    Challenge,
    /// The proof is about another text or key.
    #[error("proof does not hold")]
    Proof,
}

/// The public key of an Easypeers 1 peer. There is nothing that only its owner can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    n: Number,
    n2: Number,
    g: Number,
}

#[derive(Deserialize, Serialize)]
struct WireKey<'a> {
    #[serde(borrow)]
    n: Cow<'a, str>,
    #[serde(borrow, rename = "_n2")]
    n2: Cow<'a, str>,
    #[serde(borrow)]
    g: Cow<'a, str>,
}

#[derive(Deserialize, Serialize)]
struct WireProof<'a> {
    #[serde(borrow)]
    a: Cow<'a, str>,
    #[serde(borrow)]
    e: Cow<'a, str>,
    #[serde(borrow)]
    z: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WireCommitment<'a> {
    #[serde(borrow)]
    cipher: Cow<'a, str>,
    #[serde(borrow)]
    proof: &'a RawValue,
}

#[derive(Serialize)]
struct OurCommitment {
    cipher: String,
    proof: WireProof<'static>,
}

#[derive(Deserialize)]
struct WireCertificate<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    from: &'a RawValue,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    pubkey: &'a RawValue,
}

/// In the order in which Easypeers 1 writes it.
#[derive(Serialize)]
struct OurCertificate<'a> {
    id: OurCommitment,
    from: OurCommitment,
    message: OurCommitment,
    pubkey: WireKey<'a>,
}

/// Reads a JSON object. The derived readers alone would take an array as well.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, CertificateError> {
    if !json.trim_start().starts_with('{') {
        return Err(CertificateError::Shape);
    }
    serde_json::from_str(json).map_err(|_| CertificateError::Shape)
}

fn number(text: &str) -> Result<Number, CertificateError> {
    if text.len() > MAX_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CertificateError::Number);
    }
    number::parse(text).ok_or(CertificateError::Number)
}

/// SHA-256 of the characters, as an integer.
fn challenge(text: &str) -> Number {
    number::from_bytes(&Sha256::digest(text))
}

impl PublicKey {
    /// A new key with a modulus of `bits` bits, rounded down to an even number. The primes are dropped, because
    /// making certificates does not need them.
    ///
    /// # Errors
    /// [`CertificateError::KeySize`].
    pub fn generate(bits: u64, fill: &mut dyn FnMut(&mut [u8])) -> Result<Self, CertificateError> {
        if !(MIN_KEY_BITS..=MAX_KEY_BITS).contains(&bits) {
            return Err(CertificateError::KeySize);
        }
        let p = prime(bits / 2, &small(0), fill);
        let q = prime(bits / 2, &p, fill);
        let n = p * q;
        Ok(Self {
            n2: &n * &n,
            g: &n + small(1),
            n,
        })
    }

    /// Reads the JSON of `pubkey` and checks the key.
    ///
    /// # Errors
    /// `Shape`, `Number`, `KeySize`, `Square` or `NotAUnit`.
    pub fn decode(json: &str) -> Result<Self, CertificateError> {
        let wire: WireKey<'_> = object(json)?;
        let (n, n2, g) = (number(&wire.n)?, number(&wire.n2)?, number(&wire.g)?);
        if !(MIN_KEY_BITS..=MAX_KEY_BITS).contains(&bits(&n)) || !number::is_odd(&n) {
            return Err(CertificateError::KeySize);
        }
        if n2 != &n * &n {
            return Err(CertificateError::Square);
        }
        let key = Self { n, n2, g };
        key.check_units(&[&key.g], &[])?;
        Ok(key)
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> u64 {
        bits(&self.n)
    }

    /// The JSON text of a certificate over a message with these texts.
    ///
    /// # Errors
    /// [`CertificateError::TextLength`].
    pub fn certify(
        &self,
        id: &str,
        from: &str,
        message: &str,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<String, CertificateError> {
        let certificate = OurCertificate {
            id: self.commit(id, fill)?,
            from: self.commit(from, fill)?,
            message: self.commit(message, fill)?,
            pubkey: WireKey {
                n: decimal(&self.n).into(),
                n2: decimal(&self.n2).into(),
                g: decimal(&self.g).into(),
            },
        };
        serde_json::to_string(&certificate).map_err(|_| CertificateError::Shape)
    }

    /// C(text).
    fn commit(
        &self,
        text: &str,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<OurCommitment, CertificateError> {
        let hidden = self.text_power(text)?;
        // With the smallest key, one of these is not a unit with a probability of 2^-64, and the certificate is
        // invalid then.
        let mut unit = || below(&(&self.n - small(2)), fill) + small(2);
        let (r, w) = (unit(), unit());
        let a = decimal(&power(&w, &self.n, &self.n2));
        let e = challenge(&a);
        let z = w * power(&r, &e, &self.n) % &self.n;
        let cipher = hidden * power(&r, &self.n, &self.n2) % &self.n2;
        Ok(OurCommitment {
            cipher: decimal(&cipher),
            proof: WireProof {
                a: a.into(),
                e: decimal(&e).into(),
                z: decimal(&z).into(),
            },
        })
    }

    /// g^m mod n², m being the text as an integer.
    fn text_power(&self, text: &str) -> Result<Number, CertificateError> {
        if text.len() > MAX_TEXT {
            return Err(CertificateError::TextLength(text.len()));
        }
        let m = number::from_bytes(text.as_bytes());
        if self.g == &self.n + small(1) {
            // (n + 1)^m = 1 + mn, as all further terms of the binomial are multiples of n².
            return Ok((m % &self.n) * &self.n + small(1));
        }
        Ok(power(&self.g, &m, &self.n2))
    }

    /// Whether all are units and reduced: the first ones modulo n², the others modulo n.
    fn check_units(
        &self,
        modulo_n2: &[&Number],
        modulo_n: &[&Number],
    ) -> Result<(), CertificateError> {
        let reduced = modulo_n2.iter().all(|number| **number < self.n2)
            && modulo_n.iter().all(|number| **number < self.n);
        let all = modulo_n2.iter().chain(modulo_n);
        let product = all.fold(small(1), |product, number| product * *number % &self.n);
        if reduced && !number::shares_factor(&product, &self.n) {
            Ok(())
        } else {
            Err(CertificateError::NotAUnit)
        }
    }
}

/// C(x) as received. Its challenge is the hash of `a`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Commitment {
    cipher: Number,
    a: Number,
    e: Number,
    z: Number,
}

impl Commitment {
    fn decode(json: &RawValue, key: &PublicKey) -> Result<Self, CertificateError> {
        let wire: WireCommitment<'_> = object(json.get())?;
        let proof: WireProof<'_> = object(wire.proof.get())?;
        let commitment = Self {
            cipher: number(&wire.cipher)?,
            a: number(&proof.a)?,
            e: number(&proof.e)?,
            z: number(&proof.z)?,
        };
        if commitment.e != challenge(&proof.a) {
            return Err(CertificateError::Challenge);
        }
        key.check_units(&[&commitment.cipher, &commitment.a], &[&commitment.z])?;
        Ok(commitment)
    }

    fn verify(&self, text: &str, key: &PublicKey) -> Result<(), CertificateError> {
        let hidden = key.text_power(text)?;
        let inverse = number::inverse(&hidden, &key.n2).ok_or(CertificateError::NotAUnit)?;
        let u = &self.cipher * inverse % &key.n2;
        let right = &self.a * power(&u, &self.e, &key.n2) % &key.n2;
        if power(&self.z, &key.n, &key.n2) == right {
            Ok(())
        } else {
            Err(CertificateError::Proof)
        }
    }
}

/// A certificate that has passed all cheap checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    key: PublicKey,
    id: Commitment,
    from: Commitment,
    message: Commitment,
}

impl Certificate {
    /// Reads the JSON of `certificate` and makes the cheap checks: all but the proofs themselves.
    ///
    /// # Errors
    /// Any [`CertificateError`] but `TextLength` and `Proof`.
    pub fn decode(json: &str) -> Result<Self, CertificateError> {
        let wire: WireCertificate<'_> = object(json)?;
        let key = PublicKey::decode(wire.pubkey.get())?;
        Ok(Self {
            id: Commitment::decode(wire.id, &key)?,
            from: Commitment::decode(wire.from, &key)?,
            message: Commitment::decode(wire.message, &key)?,
            key,
        })
    }

    /// The key it was made with.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Checks the three proofs, the cheapest first. This is the expensive part: milliseconds for a
    /// short text, tens of them for [`MAX_TEXT`].
    ///
    /// # Errors
    /// `TextLength`, `NotAUnit` or `Proof`.
    pub fn verify(&self, id: &str, from: &str, message: &str) -> Result<(), CertificateError> {
        if let Some(text) = [id, from, message]
            .iter()
            .find(|text| text.len() > MAX_TEXT)
        {
            return Err(CertificateError::TextLength(text.len()));
        }
        self.from.verify(from, &self.key)?;
        self.id.verify(id, &self.key)?;
        self.message.verify(message, &self.key)
    }
}
