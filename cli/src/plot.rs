//! Pictures.

use crate::commands::bench::Report;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (860, 560);
const INK: RGBColor = RGBColor(45, 45, 50);
const FAINT: RGBColor = RGBColor(215, 215, 220);
const CROSS_ENTROPY: RGBColor = RGBColor(0, 114, 178);
const HINGE: RGBColor = RGBColor(213, 94, 0);

/// The roofline of the machine with the shapes below it, as SVG. Both axes are logarithmic.
pub(crate) fn roofline(report: &Report) -> Result<String> {
    let mut svg = String::new();
    draw(report, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw(report: &Report, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let (peak, bandwidth) = (report.peak_flops / 1e9, report.read_bandwidth / 1e9);
    let intensity = |classes: usize| classes as f64 * 4.0 / element_bytes(report);
    let (left, right) = (1.0, 2000.0);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "{} · {} · {} threads · {}",
        report.cpu, report.isa, report.threads, report.element
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (1.0..peak * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc("operations for each byte of X")
        .y_desc("GFLOP/s")
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;

    let ridge = peak / bandwidth;
    let roof = [(left, left * bandwidth), (ridge, peak), (right, peak)];
    chart.draw_series(LineSeries::new(roof, INK.stroke_width(2)))?;
    let small = ("sans-serif", 13).into_font().color(&INK);
    let above = small.pos(Pos::new(HPos::Right, VPos::Bottom));
    let label = format!("{peak:.0} GFLOP/s in registers");
    chart.draw_series([Text::new(label, (right * 0.95, peak * 1.06), above.clone())])?;
    let label = format!("{bandwidth:.1} GB/s from memory");
    let at = ridge.sqrt();
    chart.draw_series([Text::new(label, (at * 0.93, at * bandwidth * 1.06), above)])?;

    for (loss, color, filled) in [("cross-entropy", CROSS_ENTROPY, true), ("hinge", HINGE, false)] {
        let points: Vec<(f64, f64)> = (report.measurements.iter())
            .filter(|m| m.loss == loss)
            .map(|m| (intensity(m.classes), m.flops / 1e9))
            .collect();
        let style = if filled { color.filled() } else { color.stroke_width(2) };
        chart
            .draw_series(points.into_iter().map(|point| Circle::new(point, 5, style)))?
            .label(loss)
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, style));
    }
    // Each name beside the first of its points; where shapes have as many classes, on either side in turn.
    let mut left_side = false;
    let mut last = f64::NAN;
    let mut named: Vec<_> =
        report.measurements.iter().filter(|m| m.loss == "cross-entropy").collect();
    named.sort_by(|a, b| intensity(a.classes).total_cmp(&intensity(b.classes)));
    for m in named {
        let x = intensity(m.classes);
        left_side = x == last && !left_side;
        last = x;
        let (side, shift) = if left_side { (HPos::Right, 0.9) } else { (HPos::Left, 1.11) };
        let style = small.pos(Pos::new(side, VPos::Center));
        chart.draw_series([Text::new(m.shape.clone(), (x * shift, m.flops / 1e9), style)])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(FAINT)
        .label_font(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    root.present()?;
    Ok(())
}

fn element_bytes(report: &Report) -> f64 {
    if report.element == "f64" { 8.0 } else { 4.0 }
}
