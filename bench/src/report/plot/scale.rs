//! An axis: where a value lies on it, and which values it names.

/// From this ratio of the largest to the smallest on, an axis is logarithmic.
const LOG_RATIO: f64 = 10.0;

/// What an axis shows. Positions on it go from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero on.
    Linear { max: f64, step: f64 },
    /// Between two values, each a power of ten, or two or five times one.
    Log { min: f64, max: f64 },
}

impl Scale {
    /// An axis for these values: logarithmic if they are far apart. `None` if there are no values.
    pub(super) fn new(values: impl Iterator<Item = f64> + Clone) -> Option<Scale> {
        let largest = values.clone().reduce(f64::max)?;
        let smallest = values.reduce(f64::min)?;
        let is_log = smallest > 0.0 && largest / smallest > LOG_RATIO;
        Some(if is_log { Scale::log(smallest, largest) } else { Scale::linear(largest) })
    }

    /// A logarithmic axis that has room for both.
    pub(super) fn log(smallest: f64, largest: f64) -> Scale {
        let below = round_values(smallest.log10().floor() as i32).rfind(|value| *value < smallest * 0.999);
        let above = round_values(largest.log10().floor() as i32).find(|value| *value > largest * 1.001);
        let min = below.unwrap_or(10_f64.powi(smallest.log10().floor() as i32 - 1) * 5.0);
        let max = above.unwrap_or(10_f64.powi(largest.log10().floor() as i32 + 1));
        Scale::Log { min, max }
    }

    /// An axis from zero on.
    fn linear(largest: f64) -> Scale {
        let raw = if largest > 0.0 { largest / 5.0 } else { 1.0 };
        let power = raw.log10().floor() as i32;
        let step = round_values(power).find(|step| *step >= raw).unwrap_or(10_f64.powi(power + 1));
        Scale::Linear { max: (largest / step).ceil().max(1.0) * step, step }
    }

    /// Whether it is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        matches!(self, Scale::Log { .. })
    }

    /// Where a value lies. What is beyond the axis lies at its end.
    pub(super) fn position(&self, value: f64) -> f64 {
        let position = match *self {
            Scale::Linear { max, .. } => value / max,
            Scale::Log { min, max } => (value.max(min) / min).ln() / (max / min).ln(),
        };
        position.clamp(0.0, 1.0)
    }

    /// The values that are named, ascending.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match *self {
            Scale::Linear { max, step } => {
                (0..=(max / step).round() as u32).map(|count| f64::from(count) * step).collect()
            }
            Scale::Log { min, max } => {
                let powers = min.log10().floor() as i32..=max.log10().ceil() as i32;
                let decades = (max / min).log10();
                let every = if decades > 6.0 { 2 } else { 1 };
                let is_on_axis = |value: &f64| (min * 0.999..=max * 1.001).contains(value);
                let all = powers.clone().filter(|power| power.rem_euclid(every) == 0);
                match decades {
                    few if few < 2.8 => powers.flat_map(round_values).filter(is_on_axis).collect(),
                    _ => all.map(|power| 10_f64.powi(power)).filter(is_on_axis).collect(),
                }
            }
        }
    }
}

/// One, two and five times this power of ten.
fn round_values(power: i32) -> impl DoubleEndedIterator<Item = f64> {
    [1.0, 2.0, 5.0].into_iter().map(move |factor| factor * 10_f64.powi(power))
}

#[cfg(test)]
mod tests;
