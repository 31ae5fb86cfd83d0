//! Strings: their text, and where they end.

use super::{
    Buffer, MAX_TOKEN, SCRATCH, Scanner, State, Step, Stop, Visitor, advance,
    escape::{First, UTF_8, character, escape, escaped_unit},
    flow,
    run::plain_run,
    utf8::{broken_off, is_utf8},
    window::{SPACE, decode},
};

/// What a string is, and whether its text is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Key,
    Wanted,
    Passed,
}

impl Scanner {
    /// As much of a string as is there: to its end, or into a character that is cut off.
    pub(super) fn string(
        &mut self,
        role: Role,
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        // Where one escape is there are others.
        let mut is_collected = role != Role::Key;
        loop {
            let run = plain_run(rest);
            let (plain, special) = rest.split_at_checked(run.length).unwrap_or((rest, &[]));
            if !run.is_ascii && !is_utf8(plain) {
                return self.cut_character(role, plain, rest, visitor);
            }
            match special {
                [b'"', after @ ..] => {
                    *rest = after;
                    return self.end_of_string(role, plain, self.at(after), visitor);
                }
                [] => {
                    *rest = special;
                    return self.text(role, plain, visitor);
                }
                _ => {}
            }
            self.text(role, plain, visitor)?;
            *rest = special;
            match escape(special) {
                First::Character(character, length) => {
                    advance(rest, length);
                    self.character(role, character, visitor)?;
                    if is_collected {
                        is_collected = self.collect_all(role, rest, visitor)?;
                    }
                }
                First::Part => {
                    self.broken.clear();
                    self.broken.push_cut(special);
                    self.state = State::Broken(role);
                    *rest = &[];
                    return Ok(());
                }
                First::Malformed(at, expected) => {
                    advance(rest, at);
                    return Err(self.malformed(expected));
                }
            }
        }
    }

    /// Text with escapes, scratch by scratch. Tells whether more of it can be taken so.
    fn collect_all(
        &mut self,
        role: Role,
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<bool, Stop> {
        loop {
            let is_malformed = self.collect(rest);
            let is_full = self.scratch.length + SPACE > SCRATCH;
            if role == Role::Passed {
                self.scratch.clear();
            } else if is_full {
                self.flush(visitor)?;
            }
            if is_malformed || !is_full {
                return Ok(!is_malformed);
            }
        }
    }

    /// Text with escapes, as much of it as there is space for. Any other escape than the ordinary ones,
    /// the string's end and what cannot be are left. Tells whether text is left that is not UTF-8.
    fn collect(&mut self, rest: &mut &[u8]) -> bool {
        let Buffer { bytes, length } = &mut self.scratch;
        let space = bytes.get_mut(*length..).unwrap_or_default();
        let mut after = *rest;
        let mut written = 0;
        let mut is_ascii = true;
        while let Some(taken) = decode(after, space.get_mut(written..).unwrap_or_default()) {
            advance(&mut after, taken.read);
            written += taken.written;
            is_ascii &= taken.is_ascii;
            if taken.is_stopped {
                let escaped = written;
                while let [b'\\', b'u', a, b, c, d, behind @ ..] = after
                    && let Some(character) = escaped_unit([*a, *b, *c, *d])
                    && let Some(place) = space.get_mut(written..).and_then(<[u8]>::first_chunk_mut)
                {
                    let mut utf8 = [0; 4];
                    written += character.encode_utf8(&mut utf8).len();
                    *place = utf8;
                    after = behind;
                }
                if written == escaped {
                    break;
                }
            }
        }
        let text = space.get(..written).unwrap_or_default();
        if !is_ascii {
            // Escapes are whole characters, so that what is broken off is there as it stands.
            let cut = broken_off(text);
            let whole = written - cut;
            if !is_utf8(text.get(..whole).unwrap_or_default()) {
                return true;
            }
            written = whole;
            let read = rest.len() - after.len() - cut;
            advance(rest, read);
        } else {
            *rest = after;
        }
        *length += written;
        false
    }

    /// Text at the beginning of `rest` that is not UTF-8, or not all of it.
    #[cold]
    fn cut_character(
        &mut self,
        role: Role,
        text: &[u8],
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        let whole = core::str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
        let (whole, tail) = text.split_at_checked(whole).unwrap_or((text, &[]));
        let is_all = text.len() == rest.len();
        advance(rest, whole.len());
        self.text(role, whole, visitor)?;
        match character(tail) {
            First::Part if is_all => {
                self.broken.clear();
                self.broken.push_cut(tail);
                self.state = State::Broken(role);
                *rest = &[];
                Ok(())
            }
            First::Malformed(at, expected) => {
                advance(rest, at);
                Err(self.malformed(expected))
            }
            // What follows is no part of it.
            _ => {
                advance(rest, tail.len());
                Err(self.malformed(UTF_8))
            }
        }
    }

    /// The next byte of a character that a piece broke off in.
    pub(super) fn mend(
        &mut self,
        role: Role,
        rest: &mut &[u8],
        visitor: &mut impl Visitor,
    ) -> Step {
        let (next, after) = rest.split_at_checked(1).unwrap_or((rest, &[]));
        self.broken.push_cut(next);
        let bytes = self.broken.bytes();
        let first = if bytes.first() == Some(&b'\\') {
            escape(bytes)
        } else {
            character(bytes)
        };
        match first {
            First::Character(character, _) => {
                *rest = after;
                self.state = State::String(role);
                self.character(role, character, visitor)
            }
            First::Part => {
                *rest = after;
                Ok(())
            }
            First::Malformed(_, expected) => Err(self.malformed(expected)),
        }
    }

    /// The last of a string's text, behind which its closing quote was.
    #[inline]
    pub(super) fn end_of_string(
        &mut self,
        role: Role,
        plain: &[u8],
        end: u64,
        visitor: &mut impl Visitor,
    ) -> Step {
        if role == Role::Key {
            self.state = State::Colon;
            // Most keys come whole, and need not be copied.
            if self.token.is_empty() {
                visitor.key(plain.get(..MAX_TOKEN).unwrap_or(plain));
            } else {
                self.token.push_cut(plain);
                visitor.key(self.token.bytes());
            }
            return Ok(());
        }
        self.state = State::After;
        if role == Role::Wanted {
            if self.scratch.is_empty() && !plain.is_empty() {
                flow(visitor.text(plain))?;
            } else {
                self.text(role, plain, visitor)?;
                self.flush(visitor)?;
            }
        }
        flow(visitor.end_string(end))
    }

    #[inline]
    fn character(&mut self, role: Role, character: char, visitor: &mut impl Visitor) -> Step {
        let mut buffer = [0; 4];
        let length = character.encode_utf8(&mut buffer).len();
        self.text(role, buffer.get(..length).unwrap_or_default(), visitor)
    }

    /// Text of the string under way.
    #[inline]
    fn text(&mut self, role: Role, text: &[u8], visitor: &mut impl Visitor) -> Step {
        match role {
            Role::Passed => Ok(()),
            Role::Key => {
                self.token.push_cut(text);
                Ok(())
            }
            Role::Wanted if self.scratch.push(text) => Ok(()),
            Role::Wanted => {
                self.flush(visitor)?;
                if self.scratch.push(text) {
                    return Ok(());
                }
                flow(visitor.text(text))
            }
        }
    }

    /// Tells the visitor of the text that was collected.
    pub(super) fn flush(&mut self, visitor: &mut impl Visitor) -> Step {
        if self.scratch.is_empty() {
            return Ok(());
        }
        let broke = visitor.text(self.scratch.bytes());
        self.scratch.clear();
        flow(broke)
    }
}
