//! The measurements: the variants one after the other, again and again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use testbed::{poll, usage::Usage};

use super::{
    backend::{self, Backend},
    body::Shape,
    client::{self, Requests, Saturation},
    machine::{self, Snapshot},
    results::{BodyResult, Busy, LatencyResult, MemoryResult, SaturationResult, ScrapingResult},
    statistics::Repeated,
    variant::{Deployment, Variant},
};

/// Not measured at the beginning of each measurement: connections are opened, buffers grow.
const WARM_UP: Duration = Duration::from_millis(300);

/// For which each variant is loaded before the first repeat: V8 compiles what runs often once more.
const RUN_IN: Duration = Duration::from_millis(700);

/// How long the filter may take until it has scraped everyone.
const PATIENCE: Duration = Duration::from_secs(30);

/// How each thing is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) repeats: usize,
    pub(super) window: Duration,
    pub(super) seed: u64,
}

/// The variants, running, and what is behind them.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) deployments: Vec<Deployment>,
    backend: Backend,
}

impl Field {
    /// Starts variants in front of a pool of endpoints, and waits until the filter knows them all.
    ///
    /// # Errors
    ///
    /// As [`Backend::start`] and [`Deployment::start`]; or when the filter does not scrape.
    pub(super) async fn start(variants: &[Variant], endpoints: usize) -> Result<Self> {
        let backend = Backend::start(endpoints)?;
        let mut deployments = Vec::new();
        for variant in variants {
            deployments.push(Deployment::start(*variant, backend.addresses()).await?);
        }
        if variants.contains(&Variant::EndpointPicker) {
            // Once is enough for the first scores; twice, and what the first published was read.
            poll::until("every endpoint to be scraped", PATIENCE, async || {
                Ok((backend.scrapes() >= 2 * endpoints).then_some(()))
            })
            .await?;
        }
        Ok(Self {
            deployments,
            backend,
        })
    }

    /// One of the variants.
    ///
    /// # Errors
    ///
    /// When it was not started.
    pub(super) fn deployment(&self, variant: Variant) -> Result<&Deployment> {
        self.deployments
            .iter()
            .find(|it| it.variant == variant)
            .with_context(|| format!("{} does not run", variant.name()))
    }

    fn endpoints(&self) -> &[SocketAddr] {
        self.backend.addresses()
    }

    fn requests(&self, deployment: &Deployment, body: &Bytes) -> Result<Requests> {
        Requests::new(deployment.envoy.address(), body.clone(), self.endpoints())
    }

    /// The variants in the order of a repeat: each is first, second and so on equally often, so that
    /// none has the place after another for itself.
    fn rotated(&self, repeat: usize) -> impl Iterator<Item = (usize, &Deployment)> {
        let count = self.deployments.len();
        (0..count).filter_map(move |place| {
            let index = (place + repeat) % count;
            Some((index, self.deployments.get(index)?))
        })
    }

    async fn saturate(
        &self,
        deployment: &Deployment,
        body: &Bytes,
        warm_up: Duration,
        window: Duration,
    ) -> Result<Saturation> {
        let mut processes = deployment.processes.clone();
        processes.push(i32::try_from(std::process::id())?);
        client::saturate(self.requests(deployment, body)?, warm_up, window, processes)
            .await
            .with_context(|| deployment.variant.name())
    }

    /// Each variant at saturation, again and again.
    ///
    /// # Errors
    ///
    /// As [`client::saturate`].
    pub(super) async fn at_saturation(
        &self,
        body: &Bytes,
        method: Method,
    ) -> Result<Vec<SaturationResult>> {
        for deployment in &self.deployments {
            self.saturate(deployment, body, RUN_IN, Duration::ZERO)
                .await?;
        }
        let mut all: Vec<Vec<(f64, Busy)>> = vec![Vec::new(); self.deployments.len()];
        for repeat in 0..method.repeats {
            for (index, deployment) in self.rotated(repeat) {
                let saturation = self
                    .saturate(deployment, body, WARM_UP, method.window)
                    .await?;
                if let Some(series) = all.get_mut(index) {
                    series.push((
                        saturation.rate,
                        Busy::between(&saturation.before, &saturation.after),
                    ));
                }
            }
        }
        let rates: Vec<(Variant, Vec<f64>)> = self
            .deployments
            .iter()
            .zip(&all)
            .map(|(it, series)| (it.variant, series.iter().map(|(rate, _)| *rate).collect()))
            .collect();
        let costs: Vec<Vec<f64>> = all
            .iter()
            .map(|series| {
                series
                    .iter()
                    .map(|(rate, busy)| busy.worker / rate * 1e6)
                    .collect()
            })
            .collect();
        let place = |variant| rates.iter().position(|(it, _)| *it == variant);
        let against = |own: &[f64], variant| {
            let (_, other) = rates.get(place(variant)?)?;
            Repeated::paired(own, other, |own, other| own / other)
        };
        let by_cost = |own: &[f64]| {
            let bare = costs.get(place(Variant::Bare)?)?;
            Repeated::paired(own, bare, |own, bare| bare / own)
        };
        rates
            .iter()
            .zip(&costs)
            .zip(&all)
            .map(|(((variant, own), costs), series)| {
                Ok(SaturationResult {
                    variant: *variant,
                    rates: own.clone(),
                    rate: Repeated::of(own.iter().copied()).context("no repeats")?,
                    to_bare: against(own, Variant::Bare),
                    to_ext_proc: against(own, Variant::ExtProc),
                    worker_micros: Repeated::of(costs.iter().copied()).context("no repeats")?,
                    to_bare_by_cost: by_cost(costs),
                    busy: Busy::median(series.iter().map(|(_, busy)| *busy)),
                })
            })
            .collect()
    }

    /// Each variant at one rate, again and again.
    async fn at_rate(&self, body: &Bytes, rate: f64, method: Method) -> Result<Vec<LatencyResult>> {
        let mut all: Vec<[Vec<f64>; 3]> = vec![Default::default(); self.deployments.len()];
        let mut requests = vec![0; self.deployments.len()];
        for (repeat, seed) in (0..method.repeats).zip(method.seed..) {
            for (index, deployment) in self.rotated(repeat) {
                let mut measured = client::at_rate(
                    self.requests(deployment, body)?,
                    rate,
                    WARM_UP,
                    method.window,
                    seed,
                )
                .await
                .with_context(|| deployment.variant.name())?;
                if let (Some([p50, p99, lag]), Some(requests)) =
                    (all.get_mut(index), requests.get_mut(index))
                {
                    p50.extend(measured.latency.quantile(0.5));
                    p99.extend(measured.latency.quantile(0.99));
                    lag.extend(measured.lag.quantile(0.99));
                    *requests += measured.latency.count();
                }
            }
        }
        let bare = self
            .deployments
            .iter()
            .zip(&all)
            .find(|(it, _)| it.variant == Variant::Bare)
            .map(|(_, series)| series);
        let few = "no request was measured: the window is too short";
        self.deployments
            .iter()
            .zip(&all)
            .zip(&requests)
            .map(|((deployment, [p50, p99, lag]), requests)| {
                let added = |own: &[f64], quantile: usize| {
                    Repeated::paired(own, bare?.get(quantile)?, |own, bare| own - bare)
                };
                Ok(LatencyResult {
                    variant: deployment.variant,
                    p50: Repeated::of(p50.iter().copied()).context(few)?,
                    p99: Repeated::of(p99.iter().copied()).context(few)?,
                    added_p50: added(p50, 0),
                    added_p99: added(p99, 1),
                    lag_p99: Repeated::of(lag.iter().copied()).context(few)?,
                    requests: *requests,
                })
            })
            .collect()
    }

    /// Each variant with one body: at saturation, and at half of what the slowest takes.
    ///
    /// The rate is the same for all: at half of its own saturation each, the fastest would be
    /// compared under the heaviest load.
    ///
    /// # Errors
    ///
    /// As [`client::saturate`] and [`client::at_rate`].
    pub(super) async fn body(&self, shape: Shape, method: Method) -> Result<BodyResult> {
        let body = Bytes::from(shape.make(method.seed)?);
        let saturation = self.at_saturation(&body, method).await?;
        let slowest = saturation
            .iter()
            .map(|it| it.rate.median)
            .fold(f64::INFINITY, f64::min);
        let latency_rate = slowest / 2.0;
        Ok(BodyResult {
            body: shape,
            saturation,
            latency_rate,
            latency: self.at_rate(&body, latency_rate, method).await?,
        })
    }

    /// What the filter's VMs have grown to after a while at saturation with each body.
    ///
    /// # Errors
    ///
    /// As [`client::saturate`] and [`machine::linear_memories`].
    pub(super) async fn memory(
        &self,
        shapes: &[Shape],
        method: Method,
    ) -> Result<Vec<MemoryResult>> {
        let deployment = self.deployment(Variant::EndpointPicker)?;
        let mut results = Vec::new();
        for shape in shapes {
            let body = Bytes::from(shape.make(method.seed)?);
            self.saturate(deployment, &body, RUN_IN, Duration::ZERO)
                .await?;
            let mut linear_memories = machine::linear_memories(&deployment.processes)?;
            linear_memories.sort_unstable_by(|left, right| right.cmp(left));
            results.push(MemoryResult {
                body: *shape,
                endpoints: self.endpoints().len(),
                linear_memories,
                resident: deployment.envoy.usage()?.resident,
            });
        }
        Ok(results)
    }

    /// What the filter's Envoy spends without requests, and the bare one at the same time.
    ///
    /// # Errors
    ///
    /// When one of them is gone.
    pub(super) async fn scraping(&self, window: Duration) -> Result<ScrapingResult> {
        let with = self.deployment(Variant::EndpointPicker)?;
        let without = self.deployment(Variant::Bare)?;
        let spent = || -> Result<[Usage; 2]> { Ok([with.envoy.usage()?, without.envoy.usage()?]) };
        let (began, scrapes) = (Instant::now(), self.backend.scrapes());
        let [with_before, without_before] = spent()?;
        tokio::time::sleep(window).await;
        let [with_after, without_after] = spent()?;
        let scrapes = self.backend.scrapes() - scrapes;
        let elapsed = began.elapsed().as_secs_f64();
        let share = |before: Usage, after: Usage| {
            after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed
        };
        let scrapes = scrapes as f64 / elapsed;
        Ok(ScrapingResult {
            endpoints: self.endpoints().len(),
            window: elapsed,
            scrapes,
            with: share(with_before, with_after),
            without: share(without_before, without_after),
        })
    }
}

impl Busy {
    fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let share = |name| after.share_since(before, name);
        Self {
            worker: share("wrk:"),
            main: share("envoy"),
            ext_proc: share("null-ext-proc"),
            backend: share(backend::THREAD),
            client: share(client::THREAD),
            others: after.others_since(before),
        }
    }

    fn median(all: impl Iterator<Item = Self> + Clone) -> Self {
        let median =
            |part: fn(Self) -> f64| Repeated::of(all.clone().map(part)).map_or(0.0, |it| it.median);
        Self {
            worker: median(|it| it.worker),
            main: median(|it| it.main),
            ext_proc: median(|it| it.ext_proc),
            backend: median(|it| it.backend),
            client: median(|it| it.client),
            others: median(|it| it.others),
        }
    }
}
