//! Characters of a string one by one: as they are, and as escapes.
//!
//! What is found, and after how many bytes, follows from the bytes up to there alone, so that a
//! character that is cut can be looked at again with every byte that comes. The values of letters and
//! digits are looked up in tables: which letter comes next is not to be guessed, and so a branch on
//! it is slow.

/// What some bytes begin with.
pub(super) enum First {
    /// A character, written in so many bytes.
    Character(char, usize),
    /// A part of one, if the bytes to come say so.
    Part,
    /// After so many bytes one that cannot follow them, in place of this.
    Malformed(usize, &'static str),
}

pub(super) const UTF_8: &str = "UTF-8";

/// The first character of text that is no escape.
pub(super) fn character(bytes: &[u8]) -> First {
    let (error, whole) = match core::str::from_utf8(bytes) {
        Ok(text) => (None, text),
        Err(error) => {
            let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (Some(error), core::str::from_utf8(whole).unwrap_or_default())
        }
    };
    if let Some(character) = whole.chars().next() {
        return First::Character(character, character.len_utf8());
    }
    match error.and_then(|error| error.error_len()) {
        None => First::Part,
        // What no character begins with is an error of length 1 too.
        Some(length) => match bytes {
            [0xC2..=0xF4, ..] => First::Malformed(length, UTF_8),
            _ => First::Malformed(0, UTF_8),
        },
    }
}

/// The escape at the beginning, or the control character, which may not be there.
pub(super) fn escape(bytes: &[u8]) -> First {
    match bytes {
        [b'\\', b'u', digits @ ..] => match code_unit(digits, 2) {
            Ok(high @ 0xD800..=0xDBFF) => low_surrogate(high, digits.get(4..).unwrap_or_default()),
            Ok(unit) => match char::from_u32(unit) {
                Some(character) => First::Character(character, 6),
                None => First::Malformed(5, "the high surrogate before the low one"),
            },
            Err(first) => first,
        },
        [b'\\', letter, ..] => match escaped(*letter) {
            Some(character) => First::Character(character.into(), 2),
            None => First::Malformed(1, "an escape"),
        },
        [] | [b'\\'] => First::Part,
        _ => First::Malformed(0, "an escape instead of a control character"),
    }
}

/// The character of a high surrogate with the low one that has to follow.
fn low_surrogate(high: u32, after: &[u8]) -> First {
    const EXPECTED: &str = "the low surrogate after the high one";
    match after {
        [] | [b'\\'] => First::Part,
        [b'\\', b'u', digits @ ..] => match code_unit(digits, 8) {
            Ok(low @ 0xDC00..=0xDFFF) => {
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                char::from_u32(code).map_or(First::Malformed(11, EXPECTED), |character| {
                    First::Character(character, 12)
                })
            }
            Ok(_) => First::Malformed(11, EXPECTED),
            Err(first) => first,
        },
        [b'\\', ..] => First::Malformed(7, EXPECTED),
        _ => First::Malformed(6, EXPECTED),
    }
}

/// The character of an escape's four digits, if it is one by itself.
#[inline]
pub(super) fn escaped_unit(digits: [u8; 4]) -> Option<char> {
    char::from_u32(code_unit(&digits, 2).ok()?)
}

/// The code unit of four digits, which stand after `before` bytes of an escape.
#[inline]
fn code_unit(digits: &[u8], before: usize) -> Result<u32, First> {
    if let Some([a, b, c, d]) = digits.first_chunk() {
        let [a, b, c, d] = [a, b, c, d].map(|digit| hexadecimal(*digit));
        if (a | b | c | d) <= 0xF {
            return Ok((a << 12) | (b << 8) | (c << 4) | d);
        }
    }
    let mut digits = digits.iter().take(4);
    Err(match digits.position(|digit| hexadecimal(*digit) > 0xF) {
        Some(at) => First::Malformed(before + at, "four hexadecimal digits"),
        None => First::Part,
    })
}

/// The value of a digit; more than that of any where it is none.
#[inline]
fn hexadecimal(digit: u8) -> u32 {
    const fn value(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => u8::MAX,
        }
    }
    const VALUES: [u8; 256] = {
        let mut values = [0; 256];
        let mut rest: &mut [u8] = &mut values;
        let mut digit = 0_u8;
        while let [first, after @ ..] = rest {
            *first = value(digit);
            digit = digit.wrapping_add(1);
            rest = after;
        }
        values
    };
    let value = VALUES.get(usize::from(digit)).copied();
    value.unwrap_or(u8::MAX).into()
}

/// The character that a letter after a backslash stands for.
#[inline]
pub(super) fn escaped(letter: u8) -> Option<u8> {
    const fn character(letter: u8) -> u8 {
        match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => 0,
        }
    }
    const CHARACTERS: [u8; 256] = {
        let mut characters = [0; 256];
        let mut rest: &mut [u8] = &mut characters;
        let mut letter = 0_u8;
        while let [first, after @ ..] = rest {
            *first = character(letter);
            letter = letter.wrapping_add(1);
            rest = after;
        }
        characters
    };
    let character = CHARACTERS.get(usize::from(letter)).copied();
    character.filter(|character| *character != 0)
}
