//! The host calls that are not left to the SDK.
//!
//! What the host tells comes as a number here. The SDK has it written into enums, of which a value that
//! they do not have is undefined behaviour.

use core::ptr;

use proxy_wasm::types::{LogLevel, MapType, Status};

use super::host::{HostError, failed};
use crate::request::HeaderPairs;

#[expect(unsafe_code, reason = "the ABI of the host")]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(
        map: MapType,
        return_data: *mut *mut u8,
        return_size: *mut usize,
    ) -> u32;

    fn proxy_get_log_level(return_level: *mut u32) -> u32;
}

/// All headers of the request that the host has in hand.
///
/// A header that is there costs a call into the host and one back into the VM for its memory: about
/// 1.1 microseconds by name, where all of them together cost 1.3. The SDK's way to all of them
/// allocates twice for each and takes twice as long.
#[expect(unsafe_code, reason = "the ABI of the host")]
pub(super) fn request_headers() -> Result<HeaderPairs, HostError> {
    let mut data = ptr::null_mut();
    let mut size = 0;
    // SAFETY: the host writes a pointer and a size through these two, which outlive the call.
    let status =
        unsafe { proxy_get_header_map_pairs(MapType::HttpRequestHeaders, &mut data, &mut size) };
    checked(status).map_err(failed("get_header_map_pairs"))?;
    if data.is_null() {
        return Ok(HeaderPairs::default());
    }
    // SAFETY: the memory comes from the SDK's `proxy_on_memory_allocate`, which leaks a `Vec` of
    // this capacity, and the host has filled it. The SDK takes back what it gets in the same way.
    let serialized = unsafe { Vec::from_raw_parts(data, size, size) };
    Ok(HeaderPairs::new(serialized))
}

/// The least level that Envoy writes. At `off` it tells one that the SDK does not know.
#[expect(unsafe_code, reason = "the ABI of the host")]
pub(super) fn log_level() -> Result<LogLevel, HostError> {
    let mut level = 0;
    // SAFETY: the host writes a number through this, which outlives the call.
    let status = unsafe { proxy_get_log_level(&mut level) };
    checked(status).map_err(failed("get_log_level"))?;
    Ok(match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4 => LogLevel::Error,
        // Nothing here is critical, so `critical` and `off` are the same.
        _ => LogLevel::Critical,
    })
}

/// Statuses without a name in the SDK come from a VM that has no memory left.
const fn checked(status: u32) -> Result<(), Status> {
    match status {
        0 => Ok(()),
        1 => Err(Status::NotFound),
        2 => Err(Status::BadArgument),
        3 => Err(Status::SerializationFailure),
        4 => Err(Status::ParseFailure),
        7 => Err(Status::Empty),
        8 => Err(Status::CasMismatch),
        _ => Err(Status::InternalFailure),
    }
}
