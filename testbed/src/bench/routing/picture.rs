//! The picture of a report.

use anyhow::{Context, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{FontStyle, register_font},
};
use resvg::{tiny_skia, usvg};
use testbed::load::{statistics::quantile, workload::Workload};

use super::{
    policy::Policy,
    results::{Results, Run},
};

/// The typeface of all text. A viewer of the SVG that has it not takes another without serifs.
const TYPEFACE: &str = "DejaVu Sans, sans-serif";

/// Pixels.
const ROW_HEIGHT: u32 = 330;
const CDF_WIDTH: u32 = 560;
const TIMELINE_WIDTH: u32 = 270;
const TITLE_HEIGHT: u32 = 64;

/// Colours that stay apart for the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

/// One picture in two forms.
pub(super) struct Picture {
    pub(super) svg: String,
    pub(super) png: Vec<u8>,
}

type Area<'svg> = DrawingArea<SVGBackend<'svg>, Shift>;

/// Draws a row for each workload: the distribution of the time to first token by policy, and by
/// policy the requests at each server over time.
pub(super) fn draw(results: &Results) -> Result<Picture> {
    // A second registration replaces the first by the same.
    register_font(TYPEFACE, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the typeface cannot be read"))?;
    let policies = u32::try_from(results.settings.policies.len())?;
    let workloads = u32::try_from(results.settings.workloads.len())?;
    let size = (
        CDF_WIDTH + policies * TIMELINE_WIDTH,
        TITLE_HEIGHT + workloads * ROW_HEIGHT,
    );
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw_all(&area, results).map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    let png = rasterize(&svg)?;
    Ok(Picture { svg, png })
}

type DrawResult = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw_all(area: &Area<'_>, results: &Results) -> DrawResult {
    area.fill(&WHITE)?;
    let (title, mut rest) = area.split_vertically(TITLE_HEIGHT);
    let servers = results.settings.servers;
    title.draw(&Text::new(
        "Left: the share of requests whose first token came within a time. Right: requests waiting and running",
        (16, 12),
        text(18),
    ))?;
    title.draw(&Text::new(
        format!("at each of {servers} model servers over time, by policy. Seconds are simulated; the grey part is warm-up."),
        (16, 36),
        text(18),
    ))?;
    for workload in &results.settings.workloads {
        let (row, below) = rest.split_vertically(ROW_HEIGHT);
        rest = below;
        let (left, right) = row.split_horizontally(CDF_WIDTH);
        distribution(&left, results, *workload)?;
        let runs: Vec<&Run> = results
            .settings
            .policies
            .iter()
            .filter_map(|policy| first_run(results, *workload, *policy))
            .collect();
        let highest = runs.iter().flat_map(|run| queues(run)).fold(1.0, f64::max);
        let cells = right.split_evenly((1, results.settings.policies.len().max(1)));
        for (cell, run) in cells.iter().zip(runs) {
            timeline(cell, run, highest, results)?;
        }
    }
    area.present()?;
    Ok(())
}

/// The curves of all policies for one workload.
fn distribution(area: &Area<'_>, results: &Results, workload: Workload) -> DrawResult {
    let curves: Vec<(usize, Policy, Vec<f64>)> = (0..)
        .zip(&results.settings.policies)
        .map(|(number, policy)| (number, *policy, ttfts(results, workload, *policy)))
        .collect();
    let least = curves
        .iter()
        .map(|(_, _, values)| quantile(values, 0.01))
        .fold(f64::INFINITY, f64::min)
        .clamp(0.01, 1.0);
    let most = curves
        .iter()
        .map(|(_, _, values)| quantile(values, 1.0))
        .fold(2.0 * least, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("{}: time to first token", workload.name()),
            text(18),
        )
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d((least..most).log_scale().base(2.0), 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("seconds, logarithmic")
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .x_label_formatter(&|seconds| seconds_label(*seconds))
        .x_labels(8)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(text(13))
        .axis_desc_style(text(13))
        .draw()?;
    for (number, policy, values) in &curves {
        let colour = colour(*number);
        let count = values.len().max(1) as f64;
        let points = values
            .iter()
            .enumerate()
            .map(|(rank, value)| (value.max(least), (rank + 1) as f64 / count));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(policy.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(text(13))
        .draw()?;
    Ok(())
}

/// The queues of one run.
fn timeline(area: &Area<'_>, run: &Run, highest: f64, results: &Results) -> DrawResult {
    let window = results.settings.window;
    let mut chart = ChartBuilder::on(area)
        .caption(run.policy.name(), text(16))
        .margin(10)
        .margin_top(16)
        .x_label_area_size(36)
        .y_label_area_size(30)
        .build_cartesian_2d(0.0..window.until, 0.0..highest * 1.05)?;
    chart.draw_series([Rectangle::new(
        [(0.0, 0.0), (window.from, highest * 1.05)],
        RGBColor(240, 240, 240).filled(),
    )])?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(text(12))
        .axis_desc_style(text(12))
        .draw()?;
    for server in 0..results.settings.servers {
        let points = run.timeline.iter().filter_map(|sample| {
            let state = sample.servers.get(server).copied().flatten()?;
            Some((sample.time, state.queue()))
        });
        chart.draw_series(LineSeries::new(points, colour(server).stroke_width(1)))?;
    }
    Ok(())
}

/// Of all repeats, in ascending order.
fn ttfts(results: &Results, workload: Workload, policy: Policy) -> Vec<f64> {
    let window = results.settings.window;
    let mut values: Vec<f64> = results
        .runs
        .iter()
        .filter(|run| run.workload == workload && run.policy == policy)
        .flat_map(|run| &run.outcomes)
        .filter(|outcome| outcome.due >= window.from)
        .filter_map(|outcome| Some(outcome.result.as_ref().ok()?.ttft))
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

fn first_run(results: &Results, workload: Workload, policy: Policy) -> Option<&Run> {
    results
        .runs
        .iter()
        .find(|run| run.workload == workload && run.policy == policy)
}

fn queues(run: &Run) -> impl Iterator<Item = f64> {
    run.timeline
        .iter()
        .flat_map(|sample| sample.servers.iter().flatten())
        .map(|state| state.queue())
}

fn colour(number: usize) -> RGBColor {
    COLOURS
        .get(number % COLOURS.len())
        .copied()
        .unwrap_or(BLACK)
}

fn text(size: u32) -> TextStyle<'static> {
    (TYPEFACE, size).into_font().color(&RGBColor(40, 40, 40))
}

fn seconds_label(seconds: f64) -> String {
    // To the millisecond, without zeros at the end.
    ((seconds * 1000.0).round() / 1000.0).to_string()
}

/// Draws the SVG as PNG, in twice its size for sharp text.
fn rasterize(svg: &str) -> Result<Vec<u8>> {
    const SCALE: f32 = 1.5;
    let mut options = usvg::Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .context("a picture without size")?;
    let mut pixels =
        tiny_skia::Pixmap::new(size.width(), size.height()).context("a picture too large")?;
    resvg::render(
        &tree,
        tiny_skia::Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    Ok(pixels.encode_png()?)
}
