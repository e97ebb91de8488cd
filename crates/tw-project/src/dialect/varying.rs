//! Which queries may have another answer each time, although what they read is the same.

use datafusion::sql::sqlparser::ast::{Expr, Query, visit_expressions};
use std::ops::ControlFlow;

/// The functions whose value is another one each time a statement runs, or a row is computed.
const VARYING: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "gen_random_uuid",
    "localtimestamp",
    "now",
    "random",
    "uuid",
];

/// Whether a query calls one of them.
pub(crate) fn varies(query: &Query) -> bool {
    let found: ControlFlow<()> = visit_expressions(query, |expr| {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().and_then(|part| part.as_ident());
        let varies = name.is_none_or(|name| VARYING.contains(&name.value.to_lowercase().as_str()));
        if varies { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

#[cfg(test)]
mod tests {
    use super::super::functions::{DATAFUSION, is_foreign};
    use super::*;
    use crate::sql::parse_query;
    use datafusion::logical_expr::Volatility;

    #[test]
    fn calls_are_found_wherever_they_are() {
        for sql in [
            "SELECT now()",
            "SELECT x FROM t WHERE at < CURRENT_TIMESTAMP",
            "SELECT x FROM t WHERE at < current_date - interval '1 day'",
            "SELECT LOCALTIMESTAMP",
            "SELECT current_time",
            "SELECT (SELECT max(x) FROM t WHERE y > Random()) FROM t",
            "WITH a AS (SELECT gen_random_uuid() AS id FROM t) SELECT id FROM a",
            "SELECT x FROM t ORDER BY random() LIMIT 1",
            "SELECT x, count(*) FILTER (WHERE at > now()) FROM t GROUP BY x",
            "SELECT x FROM t UNION SELECT y FROM u JOIN v ON u.at = now()",
            "SELECT \"now\"()",
            "VALUES (uuid())",
        ] {
            assert!(varies(&parse_query(sql).unwrap()), "{sql}");
        }
        for sql in ["SELECT now FROM t", "SELECT 'now()', date_trunc('day', at), count(*) FROM t GROUP BY at"]
        {
            assert!(!varies(&parse_query(sql).unwrap()), "{sql}");
        }
    }

    #[test]
    fn no_other_function_has_a_value_that_its_arguments_do_not_say() {
        let others =
            DATAFUSION.iter().filter(|(name, _)| is_foreign(name) && !VARYING.contains(&name.as_str()));
        let mut count = 0;
        for (name, function) in others {
            assert_eq!(function.signature().volatility, Volatility::Immutable, "{name}");
            count += 1;
        }
        assert!(count > 10, "{count}");
    }
}
