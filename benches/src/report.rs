//! Lines of figures.

/// Prints a figure with what it must reach, by row of the table of goals.
pub fn line(row: &str, what: &str, figure: &str, goal: &str) {
    println!("{row:<7} {what:<58} {figure:>22}   goal {goal}");
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
