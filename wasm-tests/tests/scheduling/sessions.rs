//! Sessions, and where they belong.

use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    load::InFlight,
    pool::Pool,
    prefix::PrefixIndex,
    scheduling::{Candidates, Request, Scorer, Session, SessionForm, View},
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{FRESHNESS, Server, address, scores};

type Headers = [Option<Box<[u8]>>];

fn headers(values: &[Option<&str>]) -> Vec<Option<Box<[u8]>>> {
    let bytes = |value: &str| value.as_bytes().into();
    values.iter().map(|value| value.map(bytes)).collect()
}

fn with(headers: &Headers) -> Request<'_> {
    Request {
        headers,
        ..Request::default()
    }
}

fn session(place: usize, form: SessionForm) -> Session {
    Session { place, form }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_session_stands_where_it_is_watched() {
    for (place, values, expected) in [
        (0, &[Some("abc"), None][..], Some("abc")),
        (0, &[Some(" abc "), None], Some("abc")),
        (1, &[Some("abc"), None], None),
        (2, &[Some("abc"), None], None),
        (0, &[Some(""), None], None),
        (1, &[Some("no"), Some("abc")], Some("abc")),
    ] {
        let headers = headers(values);
        let session = session(place, SessionForm::Key);
        let found = session.value_of(with(&headers));
        assert_eq!(found, expected.map(str::as_bytes), "{session:?} {values:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_token_leads_back_to_its_endpoint() {
    let token = Session::token(address(1));
    assert_eq!(token, "MTAuMC4wLjE6ODAwMg==");
    assert_eq!(Session::token("[::1]:80".parse().unwrap()), "Wzo6MV06ODA=");
    let scorer = Scorer::SessionAffinity(session(0, SessionForm::Token));
    let servers = vec![Server::silent(); 3];
    let of_nobody = Session::token("10.9.9.9:1".parse().unwrap());
    let long = "A".repeat(10_000);
    for (value, expected) in [
        (Some(token.as_str()), [0.0, 1.0, 0.0]),
        // Without its padding.
        (Some("MTAuMC4wLjE6ODAwMg"), [0.0, 1.0, 0.0]),
        (Some(&of_nobody), [0.0; 3]),
        (None, [0.0; 3]),
        (Some("10.0.0.1:8002"), [0.0; 3]),
        (Some("MTAuMC4wLjE="), [0.0; 3]),
        (Some("////"), [0.0; 3]),
        (Some("="), [0.0; 3]),
        (Some("\u{fc}"), [0.0; 3]),
        (Some(&long), [0.0; 3]),
    ] {
        let headers = headers(&[value]);
        assert_eq!(
            scores(&scorer, &servers, with(&headers)),
            expected,
            "{value:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn every_address_fits_a_token() {
    let scorer = Scorer::SessionAffinity(session(0, SessionForm::Token));
    for address in [
        "0.0.0.0:0",
        "255.255.255.255:65535",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        "[fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535",
    ] {
        let address = address.parse().unwrap();
        let pool = Pool::new(&[DiscoveredEndpoint::at(address)]);
        let (load, prefixes) = (InFlight::new(1), PrefixIndex::new(1, 1 << 16));
        let view = View {
            pool: &pool,
            load: &load,
            prefixes: &prefixes,
        };
        let headers = headers(&[Some(&Session::token(address))]);
        let candidates = Candidates::new(view, &[0], &[0], FRESHNESS, with(&headers));
        let mut found = Vec::new();
        scorer.score(candidates, &mut found);
        assert_eq!(found, [1.0], "{address}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_key_belongs_to_one_endpoint_as_long_as_that_is_there() {
    let scorer = Scorer::SessionAffinity(session(0, SessionForm::Key));
    let home = |key: &str, servers: usize| {
        let servers = vec![Server::silent(); servers];
        let headers = headers(&[Some(key)]);
        let found = scores(&scorer, &servers, with(&headers));
        assert_eq!(found.iter().sum::<f64>(), 1.0, "{found:?}");
        found.iter().position(|&score| score == 1.0).unwrap()
    };
    let mut homes = [0; 5];
    let mut moved = 0;
    for key in 0..1000 {
        let key = format!("user-{key}");
        let at = home(&key, 5);
        assert_eq!(home(&key, 5), at);
        homes[at] += 1;
        // A sixth endpoint takes from all and moves nothing between them.
        let then = home(&key, 6);
        assert!(then == at || then == 5);
        moved += usize::from(then != at);
    }
    assert!(
        homes.iter().all(|&count| (150..250).contains(&count)),
        "{homes:?}"
    );
    assert!((120..220).contains(&moved), "{moved}");
    let headers = headers(&[None]);
    let servers = vec![Server::silent(); 3];
    assert_eq!(scores(&scorer, &servers, with(&headers)), [0.0; 3]);
}
