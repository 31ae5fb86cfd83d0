//! Scans JSON as it arrives, in pieces cut anywhere and in memory that does not grow with it.
//!
//! A prompt of a hundred thousand tokens is half a megabyte of one string, and an image is tens
//! of megabytes of another. A [`Scanner`] reads each byte once, tells a [`Visitor`] what it finds
//! while it passes, and keeps nothing but where it is: which state it is in, whether each of the
//! containers around it is an object or an array, and the beginning of a key, a number, a
//! character or an escape that a piece broke off in. Nothing recurses, and nesting is bounded.
//!
//! What is JSON and what is not is judged as `serde_json` does where it reads bytes into a
//! `Value`, UTF-8 and the halves of surrogates included, also in strings that are not wanted. A
//! number out of the range of a double is JSON here, and the model server's to judge.
//!
//! Where a scan ends, by error or by [`ControlFlow::Break`], and what the visitor was told before,
//! depends on the bytes alone and not on how they are cut; what differs is in how many calls the
//! visitor is told the text of a string.

mod buffer;
mod escape;
mod number;
mod run;
mod text;
mod utf8;
mod visitor;
mod window;

use core::ops::ControlFlow;

use buffer::Buffer;
use number::Number;
use run::short_string;
use text::Role;
pub use visitor::{Container, Malformed, Scalar, Visitor};

/// Containers inside each other. `serde_json` reads as deep.
const MAX_DEPTH: u32 = 127;
const MAX_TOKEN: usize = Scanner::MAX_TOKEN;
/// Bytes of decoded text that are collected before they are handed on: text dense with escapes
/// comes in runs of a few bytes, and each call costs more than copying them.
const SCRATCH: usize = 1024;
/// Bytes of the longest escape, `\ud83d\ude00`.
const MAX_ESCAPE: usize = 12;

/// Where a scan stands.
#[derive(Debug, Clone)]
pub struct Scanner {
    state: State,
    /// Bytes up to the end of the piece under way.
    end: u64,
    /// A bit for each container around, the innermost lowest: 1 for an object.
    containers: u128,
    depth: u32,
    /// The key or the number under way.
    token: Buffer<MAX_TOKEN>,
    /// The character or the escape that a piece broke off in.
    broken: Buffer<MAX_ESCAPE>,
    /// Text that the visitor has not been told of.
    scratch: Buffer<SCRATCH>,
    /// What ended the scan.
    ended: Option<Result<(), Malformed>>,
    /// What could stand where a scan is stopped as malformed.
    expected: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a value.
    Value,
    /// Before the first value of an array, or its end.
    FirstValue,
    /// Before the first key of an object, or its end.
    FirstKey,
    /// Before a key, after a comma.
    Key,
    /// Between a key and its value.
    Colon,
    /// After a value.
    After,
    /// In a string.
    String(Role),
    /// In a string, in a character or an escape that a piece broke off in.
    Broken(Role),
    Number(Number),
    /// In `true`, `false` or `null`, before these bytes of it.
    Literal(&'static [u8], Scalar<'static>),
}

/// Why a scan goes no further. Of one byte, so that a step's result is returned in a register;
/// what was expected is left in the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Broke,
    Malformed,
}

type Step = Result<(), Stop>;

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Value,
            end: 0,
            containers: 0,
            depth: 0,
            token: Buffer::new(),
            broken: Buffer::new(),
            scratch: Buffer::new(),
            ended: None,
            expected: "",
        }
    }
}

impl Scanner {
    /// Bytes of a key or a number that are told: more than any key that anyone asks for has, and any
    /// integer of 64 bits.
    pub const MAX_TOKEN: usize = 48;

    /// How many bytes have been fed.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.end
    }

    /// Scans the next bytes. After a break nothing more is scanned.
    ///
    /// # Errors
    /// When these bytes cannot follow the ones before, and from then on.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<ControlFlow<()>, Malformed> {
        if let Some(ended) = self.ended {
            return ended.map(ControlFlow::Break);
        }
        self.end += bytes.len() as u64;
        let mut rest = bytes;
        let step = self.scan(&mut rest, visitor);
        let at = self.at(rest);
        self.settle(step, at, visitor)
    }

    /// Ends the scan: what was fed is to be the whole JSON. After a break nothing is asked of it.
    ///
    /// # Errors
    /// When something is missing.
    pub fn finish(&mut self, visitor: &mut impl Visitor) -> Result<(), Malformed> {
        if let Some(ended) = self.ended {
            return ended;
        }
        let step = match self.state {
            State::Number(number) if number.is_whole() => self.end_of_number(visitor),
            _ => Ok(()),
        };
        let step = step.and_then(|()| match self.state {
            State::After if self.depth == 0 => Ok(()),
            _ => Err(self.malformed("more, not the end,")),
        });
        self.settle(step, self.end, visitor).map(|_| ())
    }

    /// Tells what is known so far, and remembers how the scan has ended, if it has.
    fn settle(
        &mut self,
        step: Step,
        at: u64,
        visitor: &mut impl Visitor,
    ) -> Result<ControlFlow<()>, Malformed> {
        let step = match step {
            // Had the text before come in a piece of its own, the visitor would know of it.
            Ok(()) | Err(Stop::Malformed) => self.flush(visitor).and(step),
            Err(Stop::Broke) => step,
        };
        match step {
            Ok(()) => return Ok(ControlFlow::Continue(())),
            Err(Stop::Broke) => self.ended = Some(Ok(())),
            Err(Stop::Malformed) => {
                let expected = self.expected;
                self.ended = Some(Err(Malformed { expected, at }));
            }
        }
        self.ended.unwrap_or(Ok(())).map(ControlFlow::Break)
    }

    /// Scans to the end of `rest`, or to where it stops: behind what the visitor broke at, or before
    /// the byte that cannot be.
    ///
    /// Which state comes next is hard to guess for a processor. So what mostly follows is taken by the
    /// step before: behind a comma the key, behind a key its colon, behind a quote the string.
    fn scan(&mut self, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::String(role) => self.string(role, rest, visitor)?,
                State::Number(number) => self.digits(number, rest, visitor)?,
                State::Broken(role) => self.mend(role, rest, visitor)?,
                State::Literal(expected, literal) => {
                    self.literal(byte, expected, literal, rest, visitor)?;
                }
                _ if matches!(byte, b' ' | b'\n' | b'\t' | b'\r') => *rest = after,
                State::After => self.after(byte, rest, visitor)?,
                State::FirstValue if byte == b']' => self.close(rest, visitor)?,
                State::Value | State::FirstValue => self.value(byte, rest, visitor)?,
                State::FirstKey | State::Key if byte == b'"' => self.key(after, rest, visitor)?,
                State::FirstKey if byte == b'}' => self.close(rest, visitor)?,
                State::FirstKey => return Err(self.malformed("a key in quotes or '}'")),
                State::Key => return Err(self.malformed("a key in quotes")),
                State::Colon if byte == b':' => {
                    *rest = after;
                    self.state = State::Value;
                }
                State::Colon => return Err(self.malformed("':'")),
            }
        }
        Ok(())
    }

    #[inline]
    fn value(&mut self, byte: u8, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        match byte {
            b'"' => {
                let wanted = visitor.begin_string(self.at(rest));
                let role = if wanted { Role::Wanted } else { Role::Passed };
                advance(rest, 1);
                if let Some((text, after)) = short_string(rest) {
                    *rest = after;
                    return self.end_of_string(role, text, self.at(after), visitor);
                }
                self.state = State::String(role);
                self.string(role, rest, visitor)
            }
            b'-' | b'0'..=b'9' => self.number(rest, visitor),
            b'{' => self.open(Container::Object, rest, visitor),
            b'[' => self.open(Container::Array, rest, visitor),
            b't' => self.literal(byte, b"true", Scalar::Bool(true), rest, visitor),
            b'f' => self.literal(byte, b"false", Scalar::Bool(false), rest, visitor),
            b'n' => self.literal(byte, b"null", Scalar::Null, rest, visitor),
            _ => Err(self.malformed("a value")),
        }
    }

    /// The rest of a literal, or the next byte of it.
    #[inline]
    fn literal(
        &mut self,
        byte: u8,
        expected: &'static [u8],
        literal: Scalar<'static>,
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        if let Some(after) = rest.strip_prefix(expected) {
            *rest = after;
            self.state = State::After;
            return flow(visitor.scalar(literal));
        }
        match expected {
            [first, expected @ ..] if *first == byte => {
                advance(rest, 1);
                self.state = State::Literal(expected, literal);
                Ok(())
            }
            _ => Err(self.malformed("true, false or null")),
        }
    }

    /// A key, from behind its opening quote on.
    #[inline]
    fn key<'a>(
        &mut self,
        after: &'a [u8],
        rest: &mut &'a [u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        if let Some((key, after)) = short_string(after) {
            visitor.key(key);
            *rest = after;
            self.state = State::Colon;
        } else {
            *rest = after;
            self.token.clear();
            self.state = State::String(Role::Key);
            self.string(Role::Key, rest, visitor)?;
        }
        if let [b':', after @ ..] = rest
            && self.state == State::Colon
        {
            *rest = after;
            self.state = State::Value;
        }
        Ok(())
    }

    fn open(&mut self, container: Container, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("containers nested less deep"));
        }
        advance(rest, 1);
        self.depth += 1;
        self.containers <<= 1;
        self.state = match container {
            Container::Object => {
                self.containers |= 1;
                State::FirstKey
            }
            Container::Array => State::FirstValue,
        };
        visitor.begin(container);
        Ok(())
    }

    fn close(&mut self, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        advance(rest, 1);
        self.depth = self.depth.saturating_sub(1);
        self.containers >>= 1;
        self.state = State::After;
        flow(visitor.end())
    }

    #[inline]
    fn after(&mut self, byte: u8, rest: &mut &[u8], visitor: &mut impl Visitor) -> Step {
        let in_object = self.containers & 1 == 1;
        match byte {
            _ if self.depth == 0 => Err(self.malformed("the end of the JSON")),
            b',' if in_object => match rest {
                [_, b'"', after @ ..] => self.key(after, rest, visitor),
                _ => {
                    advance(rest, 1);
                    self.state = State::Key;
                    Ok(())
                }
            },
            b',' => {
                advance(rest, 1);
                self.state = State::Value;
                Ok(())
            }
            b'}' if in_object => self.close(rest, visitor),
            b']' if !in_object => self.close(rest, visitor),
            _ if in_object => Err(self.malformed("',' or '}'")),
            _ => Err(self.malformed("',' or ']'")),
        }
    }

    /// The byte of the JSON at which `rest`, the end of the piece under way, begins.
    #[inline]
    const fn at(&self, rest: &[u8]) -> u64 {
        self.end - rest.len() as u64
    }

    const fn malformed(&mut self, expected: &'static str) -> Stop {
        self.expected = expected;
        Stop::Malformed
    }
}

#[inline]
fn flow(flow: ControlFlow<()>) -> Step {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stop::Broke),
    }
}

/// Leaves the first `count` bytes behind.
#[inline]
fn advance(rest: &mut &[u8], count: usize) {
    *rest = rest.get(count..).unwrap_or_default();
}
