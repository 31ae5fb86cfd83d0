//! The command line of a server.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Result, ensure};

/// The name under which the model is served.
pub const MODEL: &str = "tiny-llama";

/// How many requests a server runs at a time; the others wait. So few that a handful of requests
/// make a queue.
pub const MAX_NUM_SEQS: u32 = 4;

/// How many tokens the KV cache of a server holds: three long prompts fill it.
pub const KV_CACHE_TOKENS: u32 = 16_384;

/// The tokens of a block: the smallest number that the attention on the CPU is made for.
const BLOCK_TOKENS: u32 = 32;

/// What the environment says beside the arguments.
const ENVIRONMENT: [(&str, &str); 9] = [
    // Nothing is downloaded, nothing reported, and nobody but this machine is listened to.
    ("HF_HUB_OFFLINE", "1"),
    ("VLLM_NO_USAGE_STATS", "1"),
    ("VLLM_HOST_IP", "127.0.0.1"),
    // GiB. All of it is reserved, but only the blocks that are used take memory.
    ("VLLM_CPU_KVCACHE_SPACE", "1"),
    // Several servers share the cores with Envoy: one thread each computes, on whichever core is
    // idle.
    ("OMP_NUM_THREADS", "1"),
    ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
    // The engine computes in its own process instead of a worker's: one Python less to start, and
    // no shared memory to be left behind.
    ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),
    // The prefix cache can be emptied by a request.
    ("VLLM_SERVER_DEV_MODE", "1"),
    // Otherwise the log is written in blocks, and a server that is killed takes the last with it.
    ("PYTHONUNBUFFERED", "1"),
];

/// The command that serves the model at `address` and leaves its temporary files in `folder`, with
/// what is installed in `tools`.
///
/// # Errors
///
/// When vLLM is not installed.
pub(super) fn serve(tools: &Path, address: SocketAddr, folder: &Path) -> Result<Command> {
    let (environment, model) = (tools.join("vllm"), tools.join("vllm-model"));
    // Written last by the installation.
    ensure!(
        environment.join("requirements.txt").exists() && model.join("config.json").exists(),
        "vLLM is not installed: run scripts/setup --vllm, which gets several gigabytes from PyPI"
    );
    let mut command = Command::new(environment.join("bin/python"));
    command
        .envs(ENVIRONMENT)
        .env("TMPDIR", folder)
        // Shared by all servers, so that later starts are faster.
        .env("VLLM_CACHE_ROOT", environment.join("cache"))
        // The command `vllm` looks for a package of that name, which on the CPU is vllm-cpu.
        .args(["-m", "vllm.entrypoints.openai.api_server"])
        .arg("--model")
        .arg(model)
        .args(["--served-model-name", MODEL])
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        // Random weights; no compiler at the start; the type that every CPU computes in.
        .args(["--load-format", "dummy", "--enforce-eager"])
        .args(["--dtype", "float32"])
        .args(["--max-num-seqs", &MAX_NUM_SEQS.to_string()])
        .args(["--block-size", &BLOCK_TOKENS.to_string()])
        .args([
            "--num-gpu-blocks-override",
            &(KV_CACHE_TOKENS / BLOCK_TOKENS).to_string(),
        ])
        // `usage` says how much of the prompt was in the cache.
        .arg("--enable-prompt-tokens-details")
        .arg("--disable-uvicorn-access-log");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_vllm_is_told_how_to_get_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let error = serve(folder.path(), ([127, 0, 0, 1], 8000).into(), folder.path())
            .expect_err("there is none");
        assert!(
            error.to_string().contains("scripts/setup --vllm"),
            "{error}"
        );
        Ok(())
    }
}
