//! Numbers, of which token ids come by the ten thousand.

use super::{Scalar, Scanner, State, Step, Visitor, advance, flow, run::spread};

/// Where in a number a scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Start,
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// Whether it may end here.
    pub(super) const fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits
        )
    }

    /// Where it is after `byte`; `None` where that is no part of it.
    const fn then(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, b'-') => Self::Minus,
            (Self::Start | Self::Minus, b'0') => Self::Zero,
            (Self::Start | Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => {
                Self::Integer
            }
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Self::ExponentDigits
            }
            _ => return None,
        })
    }
}

impl Scanner {
    /// A number from its first byte on, and in an array those that follow on it.
    #[inline]
    pub(super) fn number(&mut self, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        let is_in_array = self.depth > 0 && self.containers & 1 == 0;
        while let Some((integer, length)) = rest.first_chunk().copied().and_then(short_integer) {
            advance(rest, length);
            self.state = State::After;
            flow(visitor.scalar(Scalar::Integer(integer)))?;
            match rest {
                [b',', after @ ..] if is_in_array && matches!(after, [b'0'..=b'9', ..]) => {
                    *rest = after;
                }
                _ => return Ok(()),
            }
        }
        self.token.clear();
        self.digits(Number::Start, rest, visitor)
    }

    /// As much of a number as is there, and its end if that is there too.
    pub(super) fn digits(
        &mut self,
        number: Number,
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        let mut number = number;
        let mut run = 0;
        for &byte in *rest {
            let Some(next) = number.then(byte) else {
                break;
            };
            number = next;
            run += 1;
        }
        let (digits, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        *rest = after;
        self.token.push_cut(digits);
        self.state = State::Number(number);
        // Only the byte behind a number ends it.
        match after {
            [] => Ok(()),
            _ if number.is_whole() => self.end_of_number(visitor),
            _ => Err(self.malformed("a digit of a number")),
        }
    }

    pub(super) fn end_of_number(&mut self, visitor: &mut impl Visitor) -> Step {
        let number = self.token.bytes();
        let integer = match self.state {
            State::Number(Number::Zero | Number::Integer) => integer(number),
            _ => None,
        };
        self.state = State::After;
        flow(visitor.scalar(integer.map_or(Scalar::Number(number), Scalar::Integer)))
    }
}

fn integer(number: &[u8]) -> Option<u64> {
    core::str::from_utf8(number).ok()?.parse().ok()
}

/// The integer that begins here, and its length, if it has fewer than eight digits and ends here.
#[inline]
fn short_integer(bytes: [u8; 8]) -> Option<(u64, usize)> {
    let word = u64::from_le_bytes(bytes);
    // A byte of 0 to 9 for each digit, and the highest bit of every byte that is none.
    let digits = word ^ spread(b'0');
    let others = (((digits & spread(0x7F)) + spread(0x7F - 9)) | digits) & spread(0x80);
    let length = others.trailing_zeros() / 8;
    // No digit at all, or no end.
    if length == 0 || length == 8 {
        return None;
    }
    let end = (word >> (8 * length)) as u8;
    let is_end = matches!(end, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    // A zero at the front may only stand alone.
    if !is_end || (digits & 0xFF == 0 && length > 1) {
        return None;
    }
    // With zeros in front for eight, whose first is the lowest; then twos, fours and all together.
    let ones = digits << (64 - 8 * length);
    let twos = (ones * 10 + (ones >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_FFFF_0000_FFFF;
    let eight = (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF;
    Some((eight, length as usize))
}
