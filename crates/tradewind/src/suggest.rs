//! Suggestions for misspelt names.

/// The name that needs the fewest changes, if they are few for its length.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + name.chars().count() / 4;
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .filter_map(|known| {
            let lower = known.to_lowercase();
            // What comes after the last dot is what people remember of `shop.orders`.
            let tail = lower.rsplit('.').next().unwrap_or_default();
            let distance = strsim::osa_distance(&wanted, &lower).min(strsim::osa_distance(&wanted, tail) + 1);
            (distance <= limit).then_some((distance, known))
        })
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_name_is_suggested_and_a_far_one_is_not() {
        let known = ["shop.orders", "shop.customers", "clicks"];
        assert_eq!(closest("shop.ordres", known), Some("shop.orders"));
        assert_eq!(closest("orders", known), Some("shop.orders"));
        assert_eq!(closest("Clicks", known), Some("clicks"));
        assert_eq!(closest("invoices", known), None);
    }
}
