//! What the configuration asks of a request's headers.

/// A value that a request's headers may have, of any name. Names of headers are in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// All that the header of this name says.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
}

impl Watched {
    /// What it is in the header `name` that says `value`, if it is there.
    pub(super) fn of<'a>(&self, name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Header(watched) => (watched.as_bytes() == name).then_some(value),
            Self::Cookie(watched) => (name == b"cookie").then(|| cookie(value, watched))?,
        }
    }
}

/// The value of the first cookie `name` in the header `cookie`, without the quotes that some clients
/// put around one that has a `=`.
fn cookie<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = header.split(|&byte| byte == b';').find_map(|pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })?;
    let value = value.trim_ascii();
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        for (header, expected) in [
            ("sid=abc", Some("abc")),
            ("a=b; sid=abc; c=d", Some("abc")),
            ("a=b;sid=abc ;c=d", Some("abc")),
            ("sid=a=b==", Some("a=b==")),
            ("sid=one; sid=two", Some("one")),
            ("xsid=no; sidx=no; sid2; sid=yes", Some("yes")),
            ("a=b; sid=\"a=b==\"; c=d", Some("a=b==")),
            ("sid=\"", Some("\"")),
            ("sid=\"a", Some("\"a")),
            ("sid=\"\"", Some("")),
            ("sid=", Some("")),
            ("SID=no", None),
            ("a=sid=no", None),
            ("sid", None),
            ("; ;;", None),
            ("", None),
        ] {
            let watched = Watched::Cookie("sid".to_owned());
            let found = watched.of(b"cookie", header.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{header}");
            assert_eq!(watched.of(b"set-cookie", header.as_bytes()), None);
        }
    }
}
