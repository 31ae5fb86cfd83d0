//! How large blocks are, and how many of them an endpoint holds, from what servers tell.

use core::net::SocketAddr;

use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    pool::{EndpointMetrics, Pool, Signal},
    prefix::{block_tokens, capacity},
    time::Timestamp,
};
use wasm_bindgen_test::wasm_bindgen_test;

/// Endpoints with so many KV blocks of so many tokens; `None` is not told.
fn pool(endpoints: &[(Option<f64>, Option<f64>)]) -> Pool {
    let addresses: Vec<_> = (1..)
        .map(|port| SocketAddr::from(([10, 0, 0, 1], port)))
        .take(endpoints.len())
        .collect();
    let discovered: Vec<_> = addresses
        .iter()
        .map(|it| DiscoveredEndpoint::at(*it))
        .collect();
    let mut pool = Pool::new(&discovered);
    for (address, (blocks, size)) in addresses.into_iter().zip(endpoints) {
        let at = Timestamp::from_millis(1);
        let mut metrics = EndpointMetrics::default();
        for (signal, value) in [(Signal::KvBlocks, blocks), (Signal::KvBlockSize, size)] {
            if let Some(value) = value {
                metrics.observe(signal, *value, at);
            }
        }
        pool.record(address, metrics, at);
    }
    pool
}

#[wasm_bindgen_test(unsupported = test)]
fn blocks_are_as_large_as_the_largest_of_the_pool() {
    for (sizes, expected) in [
        (&[][..], 64),
        (&[None], 64),
        (&[Some(16.0)], 64),
        (&[Some(64.0), None], 64),
        (&[Some(16.0), Some(128.0), Some(80.0)], 128),
        // A hybrid of attention and state-space layers.
        (&[Some(784.0)], 784),
        (&[Some(4096.0)], 1024),
        (&[Some(f64::NAN), Some(-1.0), Some(0.0)], 64),
        (&[Some(1e300)], 1024),
    ] {
        let endpoints: Vec<_> = sizes.iter().map(|size| (None, *size)).collect();
        assert_eq!(block_tokens(&pool(&endpoints)), expected, "{sizes:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_endpoint_holds_what_its_cache_has_space_for() {
    for (blocks, size, block_tokens, expected) in [
        (Some(27_000.0), Some(16.0), 64, Some(6_750)),
        (Some(1_000.0), Some(16.0), 128, Some(125)),
        (Some(7.0), Some(16.0), 64, Some(1)),
        (Some(3.0), Some(16.0), 64, Some(0)),
        (Some(10.0), Some(128.0), 64, Some(20)),
        (Some(100.0), Some(64.0), 0, Some(6_400)),
        (None, Some(16.0), 64, None),
        (Some(27_000.0), None, 64, None),
        (Some(0.0), Some(16.0), 64, None),
        (Some(-1.0), Some(-16.0), 64, None),
        (Some(f64::INFINITY), Some(16.0), 64, None),
        (Some(1e300), Some(1e300), 64, Some(usize::MAX)),
    ] {
        let pool = pool(&[(blocks, size)]);
        for endpoint in pool.endpoints() {
            let found = capacity(endpoint, block_tokens);
            assert_eq!(found, expected, "{blocks:?} × {size:?} / {block_tokens}");
        }
    }
}
