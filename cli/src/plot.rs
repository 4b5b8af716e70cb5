//! Pictures.

use crate::{
    commands::bench::{Measurement, Report},
    metrics, units,
};
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use softmargin::train::{CrossValidated, CrossValidation, Estimate, Progress};

/// What drawing may fail with.
type Drawn = Result<(), Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (860, 560);
const INK: RGBColor = RGBColor(45, 45, 50);
const FAINT: RGBColor = RGBColor(215, 215, 220);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);

/// Of the losses that were measured: colours that the colour-blind can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 4] = [BLUE, ORANGE, RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// The losses that were measured, with their colours.
fn losses(report: &Report) -> impl Iterator<Item = (&str, RGBColor)> {
    let first = report.measurements.first().map(|m| &m.shape);
    let of_first = report.measurements.iter().filter(move |m| Some(&m.shape) == first);
    of_first.map(|m| m.loss.as_str()).zip(COLORS)
}

/// The roofline of the machine with the shapes below it, as SVG. Both axes are logarithmic.
pub(crate) fn roofline(report: &Report) -> Result<String> {
    let mut svg = String::new();
    draw(report, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw(report: &Report, svg: &mut String) -> Drawn {
    let (peak, bandwidth) = (report.peak_flops / 1e9, report.read_bandwidth / 1e9);
    let intensity = |m: &Measurement| m.flops / m.bytes;
    let (left, right) = (1.0, 2000.0);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "{} · {} · {} threads · {}",
        report.cpu,
        report.isa,
        report.threads,
        report.numbers()
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
    // Where it ends three quarters of the way up, it does not reach the axis.
    let at = ridge.powf(0.75);
    chart.draw_series([Text::new(label, (at * 0.93, at * bandwidth * 1.06), above)])?;

    for (i, (loss, color)) in losses(report).enumerate() {
        let points: Vec<(f64, f64)> = (report.measurements.iter())
            .filter(|m| m.loss == loss)
            .map(|m| (intensity(m), m.flops / 1e9))
            .collect();
        let style = if i == 0 { color.filled() } else { color.stroke_width(2) };
        chart
            .draw_series(points.into_iter().map(|point| Circle::new(point, 5, style)))?
            .label(loss)
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, style));
    }
    // Each name beside the first of its points; where shapes have as many classes, on either side in turn.
    let mut left_side = false;
    let mut last = f64::NAN;
    let first = losses(report).next().map(|(loss, _)| loss);
    let mut named: Vec<_> =
        report.measurements.iter().filter(|m| Some(m.loss.as_str()) == first).collect();
    named.sort_by(|a, b| intensity(a).total_cmp(&intensity(b)));
    for m in named {
        let x = intensity(m);
        left_side = (x / last - 1.0).abs() < 1e-6 && !left_side;
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

/// The efficiency by the number of classes, as SVG.
pub(crate) fn sweep(report: &Report) -> Result<String> {
    let mut svg = String::new();
    draw_sweep(report, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_sweep(report: &Report, svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, (SIZE.0, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let (n, d) = report.measurements.first().map_or((0, 0), |m| (m.samples, m.features));
    let title =
        format!("{n} × {d} · {} · {} threads · {}", report.cpu, report.threads, report.numbers());
    let most = report.measurements.iter().map(|m| m.classes).max().unwrap_or(2);
    let highest = report.measurements.iter().map(|m| m.efficiency).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17).into_font().color(&INK))
        .margin(18)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..most as f64 * 1.05).log_scale().base(2.0), 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .x_desc("classes")
        .y_desc("limit / time")
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .draw()?;
    for (loss, color) in losses(report) {
        let points: Vec<(f64, f64)> = (report.measurements.iter())
            .filter(|m| m.loss == loss)
            .map(|m| (m.classes as f64, m.efficiency))
            .collect();
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(loss)
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, color.filled()));
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

/// A number from −1 to 1 as a colour from blue over white to red.
pub(crate) fn diverging(value: f32) -> [u8; 3] {
    let end = if value < 0.0 { [33.0, 102.0, 172.0] } else { [178.0, 24.0, 43.0] };
    // Small weights are many, and are to be seen.
    let share = value.abs().min(1.0).sqrt();
    end.map(|end: f32| (255.0 + (end - 255.0) * share) as u8)
}

/// The loss and the norm of its gradient, iteration by iteration.
pub(crate) fn curves(history: &[(f64, Progress)], unit: &str) -> Result<String> {
    let mut svg = String::new();
    draw_curves(history, unit, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_curves(history: &[(f64, Progress)], unit: &str, svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, (860, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(430);
    let of = |value: fn(&Progress) -> f64| -> Vec<f64> {
        history.iter().map(|(_, progress)| value(progress)).collect()
    };
    // The norm of the gradient falls through many powers of ten, and is drawn by its logarithm.
    for (area, title, color, logarithmic, values) in [
        (left, "loss", BLUE, false, of(|progress| progress.objective)),
        (
            right,
            "largest entry of the gradient",
            ORANGE,
            true,
            of(|progress| progress.gradient_norm),
        ),
    ] {
        let points = values.iter().enumerate().filter(|(_, value)| !logarithmic || **value > 0.0);
        let points = points.map(|(i, v)| (i as f64, if logarithmic { v.log10() } else { *v }));
        let points: Vec<(f64, f64)> = points.collect();
        let low = points.iter().fold(f64::INFINITY, |low, (_, y)| low.min(*y)).min(1e300);
        let high = points.iter().fold(low, |high, (_, y)| high.max(*y));
        let margin = ((high - low) * 0.05).max(low.abs() * 1e-3).max(1e-12);
        let last = (values.len().max(2) - 1) as f64;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16).into_font().color(&INK))
            .margin(14)
            .x_label_area_size(38)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..last, low - margin..high + margin)?;
        let label = |y: &f64| match logarithmic {
            true if y.fract() == 0.0 => format!("1e{y:.0}"),
            true => format!("{:.0e}", 10_f64.powf(*y)),
            false => format!("{y:.2}"),
        };
        chart
            .configure_mesh()
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc(unit)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&label)
            .x_labels(8)
            .y_labels(6)
            .draw()?;
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
    }
    root.present()?;
    Ok(())
}

/// Loss and accuracy by λ, with their standard errors. The λ axis is logarithmic: λ = 0 is left out.
pub(crate) fn cross_validation(cv: &CrossValidation) -> Result<String> {
    let mut svg = String::new();
    draw_cross_validation(cv, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_cross_validation(cv: &CrossValidation, svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, (860, 360)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(430);
    let path: Vec<&CrossValidated> = cv.path.iter().filter(|point| point.l2 > 0.0).collect();
    let best = cv.best();
    let bounds = |values: &[f64]| {
        let low = values.iter().fold(f64::INFINITY, |low, value| low.min(*value)).min(1e300);
        (low, values.iter().fold(low, |high, value| high.max(*value)))
    };
    let (first, last) = bounds(&path.iter().map(|point| point.l2.log10()).collect::<Vec<_>>());
    let percent = |estimate: Estimate| Estimate {
        mean: 100.0 * estimate.mean,
        standard_error: 100.0 * estimate.standard_error,
    };
    let loss = |point: &CrossValidated| point.loss;
    let accuracy = |point: &CrossValidated| percent(point.accuracy);
    let of_loss: &dyn Fn(&CrossValidated) -> Estimate = &loss;
    // The legend is where the curve is not.
    for (area, title, color, legend, of) in [
        (left, "loss", BLUE, SeriesLabelPosition::UpperMiddle, of_loss),
        (right, "accuracy in %", ORANGE, SeriesLabelPosition::LowerMiddle, &accuracy),
    ] {
        let ends = path.iter().flat_map(|point| {
            let Estimate { mean, standard_error } = of(point);
            [mean - standard_error, mean + standard_error]
        });
        let (low, high) = bounds(&ends.collect::<Vec<_>>());
        let margin = ((high - low) * 0.06).max(low.abs() * 1e-3).max(1e-12);
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16).into_font().color(&INK))
            .margin(14)
            .x_label_area_size(38)
            .y_label_area_size(62)
            .build_cartesian_2d(first - 0.2..last + 0.2, low - margin..high + margin)?;
        let digits = if high - low < 1.0 { 2 } else { 1 };
        let power = |x: &f64| match (x - x.round()).abs() < 1e-6 {
            true => format!("1e{x:.0}"),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc("λ")
            .x_label_formatter(&power)
            .y_label_formatter(&|y| format!("{y:.digits$}"))
            .x_labels(8)
            .y_labels(6)
            .draw()?;
        let at = |point: &CrossValidated| (point.l2.log10(), of(point).mean);
        let line = path.iter().map(|point| at(point));
        chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
        chart.draw_series(path.iter().map(|point| {
            let ((x, mean), error) = (at(point), of(point).standard_error);
            PathElement::new([(x, mean - error), (x, mean + error)], color.stroke_width(1))
        }))?;
        chart.draw_series(path.iter().map(|point| Circle::new(at(point), 3, color.filled())))?;
        if best.l2 > 0.0 {
            let chosen = Circle::new(at(best), 7, INK.stroke_width(2));
            chart
                .draw_series([chosen])?
                .label(format!("chosen: λ = {}", units::number(best.l2)))
                .legend(|(x, y)| Circle::new((x + 8, y), 5, INK.stroke_width(2)));
            chart
                .configure_series_labels()
                .position(legend)
                .background_style(WHITE.mix(0.8))
                .border_style(TRANSPARENT)
                .label_font(("sans-serif", 13).into_font().color(&INK))
                .draw()?;
        }
    }
    root.present()?;
    Ok(())
}

/// How many samples of each class, a row, are taken for each class, a column.
pub(crate) fn confusion(counts: &[&[f64]], names: &[String]) -> Result<String> {
    let mut svg = String::new();
    draw_confusion(counts, names, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_confusion(counts: &[&[f64]], names: &[String], svg: &mut String) -> Drawn {
    let n = names.len() as i32;
    let cell = (560 / n.max(1)).clamp(18, 56);
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(1) as i32;
    let (left, top) = (54 + 8 * longest, 46 + 8 * longest);
    let size = ((left + n * cell + 24) as u32, (top + n * cell + 24) as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let font = ("sans-serif", if cell < 30 { 9 } else { 13 }).into_font();
    let text = |color: &RGBColor, h, v| font.clone().color(color).pos(Pos::new(h, v));
    let head = ("sans-serif", 15).into_font().color(&INK);
    let across = Text::new("predicted", (left, 8), head.clone());
    root.draw(&across)?;
    let down = head.transform(FontTransform::Rotate270).pos(Pos::new(HPos::Right, VPos::Top));
    root.draw(&Text::new("label", (8, top), down))?;
    for (i, row) in counts.iter().enumerate() {
        let (y, middle) = (top + i as i32 * cell, cell / 2);
        let total = row.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let style = text(&INK, HPos::Right, VPos::Center);
        root.draw(&Text::new(names[i].clone(), (left - 8, y + middle), style))?;
        let style = font.clone().color(&INK).transform(FontTransform::Rotate270);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(names[i].clone(), (left + i as i32 * cell + middle, top - 8), style))?;
        for (j, count) in row.iter().enumerate() {
            let x = left + j as i32 * cell;
            let share = *count / total;
            let shade = |end: u8| (255.0 + (f64::from(end) - 255.0) * share.sqrt()) as u8;
            let RGBColor(r, g, b) = if i == j { BLUE } else { ORANGE };
            let fill = RGBColor(shade(r), shade(g), shade(b)).filled();
            root.draw(&Rectangle::new([(x, y), (x + cell - 1, y + cell - 1)], fill))?;
            if *count > 0.0 {
                let ink = if share > 0.45 { WHITE } else { INK };
                let style = text(&ink, HPos::Center, VPos::Center);
                root.draw(&Text::new(metrics::number(*count), (x + middle, y + middle), style))?;
            }
        }
    }
    root.present()?;
    Ok(())
}

/// The share of each class's samples that is predicted.
pub(crate) fn accuracies(counts: &[&[f64]], names: &[String]) -> Result<String> {
    let mut svg = String::new();
    draw_accuracies(counts, names, &mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_accuracies(counts: &[&[f64]], names: &[String], svg: &mut String) -> Drawn {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(1) as i32;
    let (left, width, line) = (36 + 8 * longest, 460, 26);
    let size = ((left + width + 90) as u32, (names.len() as i32 * line + 50) as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let text = ("sans-serif", 13).into_font().color(&INK);
    let head = ("sans-serif", 15).into_font().color(&INK);
    root.draw(&Text::new("accuracy of each class", (left, 8), head))?;
    for (i, row) in counts.iter().enumerate() {
        let (total, y) = (row.iter().sum::<f64>(), 38 + i as i32 * line);
        let style = text.pos(Pos::new(HPos::Right, VPos::Center));
        root.draw(&Text::new(names[i].clone(), (left - 8, y + 9), style))?;
        root.draw(&Rectangle::new([(left, y), (left + width, y + 18)], FAINT.mix(0.4).filled()))?;
        let style = text.pos(Pos::new(HPos::Left, VPos::Center));
        let label = if total == 0.0 {
            "no samples".to_owned()
        } else {
            let share = row[i] / total;
            let end = left + (f64::from(width) * share) as i32;
            root.draw(&Rectangle::new([(left, y), (end, y + 18)], BLUE.filled()))?;
            units::percent(share)
        };
        root.draw(&Text::new(label, (left + width + 10, y + 9), style))?;
    }
    root.present()?;
    Ok(())
}
