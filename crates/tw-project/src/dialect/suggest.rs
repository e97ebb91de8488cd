//! Suggestions for misspelt names.

/// `: did you mean …?`, or nothing if no name is close.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, known).map_or_else(String::new, |close| format!(": did you mean `{close}`?"))
}

/// The name that needs the fewest changes, if they are few for its length.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + name.chars().count() / 4;
    known
        .into_iter()
        .map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

/// How many characters must be added, removed, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 100;
    let a: Vec<char> = a.chars().take(CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    let width = b.len() + 1;
    let mut cells: Vec<usize> = vec![0; (a.len() + 1) * width];
    let at =
        |cells: &[usize], i: usize, j: usize| cells.get(i * width + j).copied().unwrap_or(usize::MAX / 2);
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let value = if i == 0 || j == 0 {
                i + j
            } else {
                let same = a.get(i - 1) == b.get(j - 1);
                let mut best = at(&cells, i - 1, j - 1) + usize::from(!same);
                best = best.min(at(&cells, i - 1, j) + 1).min(at(&cells, i, j - 1) + 1);
                if i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1) {
                    best = best.min(at(&cells, i - 2, j - 2) + 1);
                }
                best
            };
            if let Some(cell) = cells.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    at(&cells, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_name_is_suggested_and_a_far_one_is_not() {
        let known = ["orders", "customers", "clicks"];
        assert_eq!(closest("ordres", known), Some("orders"));
        assert_eq!(closest("custommers", known), Some("customers"));
        assert_eq!(closest("invoices", known), None);
        assert_eq!(did_you_mean("click", known), ": did you mean `clicks`?");
    }
}
