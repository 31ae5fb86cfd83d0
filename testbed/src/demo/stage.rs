//! Where the demo plays: model servers, and Envoy in front of them.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Result;
use testbed::{client::Reply, envoy::Envoy, model_server::Load};

use super::story::Step;

/// A model server as it is at a moment.
pub(super) struct Server {
    /// What the filter calls its kind.
    pub(super) engine: &'static str,
    /// The load that it reports.
    pub(super) load: Load,
}

/// Three model servers behind an Envoy with the endpoint picker. All of it stops when it is
/// dropped.
pub(super) trait Stage: Sized {
    /// What a model server is given to do before a request.
    type Work;

    /// What is about to start, for people.
    const OPENING: &'static str;

    /// The model that further requests can ask for.
    const MODEL: &'static str;

    /// How people see where their own requests went, in a sentence.
    const WHERE: &'static str;

    /// What is shown, in order.
    fn steps() -> Vec<Step<Self::Work>>;

    /// Starts everything.
    async fn start() -> Result<Self>;

    /// The Envoy.
    fn envoy(&self) -> &Envoy;

    /// Gives every model server its work, and waits until the filter knows the loads that come of
    /// it.
    async fn set(&mut self, work: &[Self::Work; 3]) -> Result<()>;

    /// Every model server at this moment.
    async fn servers(&self) -> Result<BTreeMap<SocketAddr, Server>>;

    /// The model server that a request has reached, as somebody other than the filter says.
    async fn reached(&self, request_id: &str, reply: &Reply) -> Result<SocketAddr>;
}
