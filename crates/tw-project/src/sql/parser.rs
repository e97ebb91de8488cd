//! The parser: sqlparser's tokens and its SELECT, with our own statements around it.

use super::SyntaxError;
use super::secret::take_password;
use super::statement::{Kind, Listing, Name, Options, Statement};
use super::tokens::{Tokens, syntax};
use crate::rows::columns::is_reserved;
use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::tokenizer::Token;
use tw_types::{Column, DataClass, Merge, MergeExpr};

/// Reads one statement; a semicolon may follow.
///
/// # Errors
/// What was expected, and where.
pub fn parse(sql: &str) -> Result<Statement, SyntaxError> {
    let mut all = parse_all(sql)?;
    match all.len() {
        1 => all.pop().ok_or_else(|| SyntaxError::whole("there is no statement")),
        0 => Err(SyntaxError::whole("there is no statement")),
        count => Err(SyntaxError::whole(format!("one statement at a time, please: these are {count}"))),
    }
}

/// Reads statements that are separated by semicolons.
///
/// # Errors
/// What was expected, and where.
pub fn parse_all(sql: &str) -> Result<Vec<Statement>, SyntaxError> {
    let mut parser = StatementParser { tokens: Tokens::new(sql)? };
    let mut statements = Vec::new();
    loop {
        while parser.tokens.eat(&Token::SemiColon) {}
        if parser.tokens.at_end() {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
        if !parser.tokens.at_end() {
            parser.tokens.expect(&Token::SemiColon, "`;` or the end")?;
        }
    }
}

/// Reads a SELECT alone.
pub(crate) fn parse_query(sql: &str) -> Result<Query, SyntaxError> {
    match parse(sql)? {
        Statement::Query(query) => Ok(*query),
        _ => Err(SyntaxError::whole("a SELECT is expected")),
    }
}

/// Reads one expression.
///
/// # Errors
/// What was expected, and where.
pub(crate) fn parse_expr(sql: &str) -> Result<Expr, SyntaxError> {
    let mut tokens = Tokens::new(sql)?;
    let expr = tokens.parser().parse_expr().map_err(|error| syntax(&error))?;
    if tokens.at_end() { Ok(expr) } else { Err(tokens.expected("the end of the expression")) }
}

const FIRST_WORDS: [&str; 14] = [
    "CREATE", "ALTER", "DROP", "SHOW", "DESCRIBE", "EXPLAIN", "PAUSE", "RESUME", "REBUILD", "HOLD",
    "RELEASE", "SELECT", "WITH", "VALUES",
];

/// A name as an identifier of SQL: in quotes, unless it means the same without.
fn as_identifier(name: &str) -> String {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if starts && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

struct StatementParser<'a> {
    tokens: Tokens<'a>,
}

impl StatementParser<'_> {
    fn statement(&mut self) -> Result<Statement, SyntaxError> {
        let Some(word) = self.tokens.peek_word() else {
            if self.tokens.peek() == Token::LParen {
                return self.query().map(Statement::Query);
            }
            return Err(self.tokens.expected("a statement"));
        };
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" | "FROM" => return self.query().map(Statement::Query),
            _ => {}
        }
        self.tokens.next();
        match word.as_str() {
            "CREATE" => self.create(),
            "ALTER" => self.alter(),
            "DROP" => self.drop(),
            "SHOW" => self.show(),
            "DESCRIBE" | "DESC" => Ok(Statement::Describe { name: self.name()? }),
            "EXPLAIN" => self.explain(),
            "PAUSE" => self.what_runs("what to pause").map(|(kind, name)| Statement::Pause { kind, name }),
            "RESUME" => self.what_runs("what to resume").map(|(kind, name)| Statement::Resume { kind, name }),
            "REBUILD" => self.projection_name().map(Statement::Rebuild),
            "HOLD" => self.projection_name().map(Statement::Hold),
            "RELEASE" => self.projection_name().map(Statement::Release),
            verb @ ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "TRUNCATE") => {
                self.tokens.back();
                Err(SyntaxError::new(
                    format!(
                        "{verb} is not supported: append events with `tradewind append` or POST \
                         /v1/streams/{{stream}}/events, and change the rows of a captured table in its database"
                    ),
                    self.tokens.span(),
                ))
            }
            _ => {
                self.tokens.back();
                Err(self.tokens.expected_one_of("a statement", &FIRST_WORDS))
            }
        }
    }

    fn query(&mut self) -> Result<Box<Query>, SyntaxError> {
        self.tokens.parser().parse_query().map_err(|error| syntax(&error))
    }

    fn create(&mut self) -> Result<Statement, SyntaxError> {
        let or_replace = self.tokens.eat_words(&["OR", "REPLACE"]);
        let place = self.tokens.span();
        match self.kind("what to create")? {
            Kind::Projection => self.create_projection(or_replace),
            kind if or_replace => Err(SyntaxError::new(
                format!("OR REPLACE is for projections, not for a {}", kind.word()),
                place,
            )),
            Kind::Stream => self.create_stream(),
            Kind::Source => self.create_source(),
        }
    }

    fn create_stream(&mut self) -> Result<Statement, SyntaxError> {
        let if_not_exists = self.tokens.eat_words(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?.full();
        let columns = if self.tokens.eat(&Token::LParen) { Some(self.columns()?) } else { None };
        Ok(Statement::CreateStream { name, if_not_exists, columns, options: self.with()? })
    }

    fn columns(&mut self) -> Result<Vec<Column>, SyntaxError> {
        let mut columns: Vec<Column> = Vec::new();
        loop {
            let place = self.tokens.span();
            let column = self.column()?;
            if columns.iter().any(|other| other.name == column.name) {
                return Err(SyntaxError::new(
                    format!("the column `{}` is declared twice", column.name),
                    place,
                ));
            }
            columns.push(column);
            if self.tokens.eat(&Token::RParen) {
                return Ok(columns);
            }
            self.tokens.expect(&Token::Comma, "`,` or `)`")?;
        }
    }

    fn column(&mut self) -> Result<Column, SyntaxError> {
        let place = self.tokens.span();
        let name = self.tokens.identifier("the name of a column")?;
        if is_reserved(&name) {
            return Err(SyntaxError::new(
                format!(
                    "the column `{name}` cannot be declared: names that start with `_` are the platform's own"
                ),
                place,
            ));
        }
        let place = self.tokens.span();
        let ty = self.tokens.parser().parse_data_type().map_err(|error| syntax(&error))?;
        let ty = ty
            .to_string()
            .parse()
            .map_err(|unknown: tw_types::UnknownType| SyntaxError::new(unknown.to_string(), place))?;
        let (mut nullable, mut class, mut merge) = (true, DataClass::default(), None);
        loop {
            if self.tokens.eat_words(&["NOT", "NULL"]) {
                nullable = false;
            } else if self.tokens.eat_words(&["CLASS"]) {
                let place = self.tokens.span();
                let word = self.tokens.identifier("a data class")?;
                class = word.parse().map_err(|unknown: tw_types::UnknownClass| {
                    SyntaxError::new(unknown.to_string(), place)
                })?;
            } else if self.tokens.eat_words(&["MERGE"]) {
                merge = Some(self.merge()?);
            } else if !self.tokens.eat_words(&["NULL"]) {
                return Ok(Column { name, ty, nullable, class, merge });
            }
        }
    }

    /// A class of conflicts.
    fn merge(&mut self) -> Result<Merge, SyntaxError> {
        let place = self.tokens.span();
        let word = self.tokens.identifier("a class of conflicts")?;
        if word.eq_ignore_ascii_case("custom") {
            self.tokens.expect(&Token::LParen, "`(` and an expression over `old` and `new`")?;
            let place = self.tokens.span();
            let expr = self.tokens.parser().parse_expr().map_err(|error| syntax(&error))?;
            self.tokens.expect(&Token::RParen, "`)`")?;
            let too_long = || {
                let bytes_max = MergeExpr::BYTES_MAX;
                SyntaxError::new(format!("the expression has more than {bytes_max} bytes"), place)
            };
            return MergeExpr::new(&expr.to_string()).map(Merge::Custom).ok_or_else(too_long);
        }
        let unknown = |unknown: tw_types::UnknownMerge| {
            let known = "use lww, max, min, counter, set, reserve, unique or custom (expression)";
            SyntaxError::new(format!("unknown class `{}`: {known}", unknown.0), place)
        };
        word.parse().map_err(unknown)
    }

    fn create_source(&mut self) -> Result<Statement, SyntaxError> {
        let if_not_exists = self.tokens.eat_words(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?.full();
        self.tokens.expect_words(&["FROM", "POSTGRES"])?;
        let place = self.tokens.span();
        let url = self.tokens.string("the URL of the database, in quotes")?;
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(SyntaxError::new("the URL of a source starts with postgres://", place));
        }
        let (url, secret) = take_password(&url);
        self.tokens.expect_words(&["TABLES"])?;
        self.tokens.expect(&Token::LParen, "`(`")?;
        let mut tables = Vec::new();
        loop {
            let table = self.name()?;
            let schema = table.schema.as_deref().unwrap_or("public");
            tables.push(format!("{}.{}", as_identifier(schema), as_identifier(&table.name)));
            if self.tokens.eat(&Token::RParen) {
                break;
            }
            self.tokens.expect(&Token::Comma, "`,` or `)`")?;
        }
        Ok(Statement::CreateSource { name, if_not_exists, url, secret, tables, options: self.with()? })
    }

    fn create_projection(&mut self, or_replace: bool) -> Result<Statement, SyntaxError> {
        let if_not_exists = self.tokens.eat_words(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?.full();
        let options = self.with()?;
        self.tokens.expect_words(&["AS"])?;
        let start = self.tokens.position();
        self.query()?;
        let query = self.tokens.text_since(start);
        Ok(Statement::CreateProjection { name, if_not_exists, or_replace, options, query })
    }

    fn alter(&mut self) -> Result<Statement, SyntaxError> {
        self.tokens.expect_words(&["STREAM"])?;
        let name = self.name()?.full();
        if self.tokens.eat_words(&["SET"]) {
            return Ok(Statement::SetOptions { name, options: self.options()? });
        }
        self.tokens.expect_words(&["ADD"])?;
        self.tokens.eat_words(&["COLUMN"]);
        let if_not_exists = self.tokens.eat_words(&["IF", "NOT", "EXISTS"]);
        Ok(Statement::AddColumn { name, column: self.column()?, if_not_exists })
    }

    fn drop(&mut self) -> Result<Statement, SyntaxError> {
        let kind = self.kind("what to drop")?;
        let if_exists = self.tokens.eat_words(&["IF", "EXISTS"]);
        Ok(Statement::Drop { kind, name: self.name()?.full(), if_exists })
    }

    fn show(&mut self) -> Result<Statement, SyntaxError> {
        const LISTINGS: [&str; 4] = ["STREAMS", "SOURCES", "PROJECTIONS", "TABLES"];
        let listing = match self.tokens.peek_word().as_deref() {
            Some("STREAMS") => Listing::Streams,
            Some("SOURCES") => Listing::Sources,
            Some("PROJECTIONS") => Listing::Projections,
            Some("TABLES") => Listing::Tables,
            _ => return Err(self.tokens.expected_one_of("what to show", &LISTINGS)),
        };
        self.tokens.next();
        Ok(Statement::Show(listing))
    }

    fn explain(&mut self) -> Result<Statement, SyntaxError> {
        match self.tokens.peek_word().as_deref() {
            Some("SELECT" | "WITH" | "VALUES") => self.query().map(Statement::ExplainQuery),
            Some("CREATE") => {
                self.tokens.next();
                match self.create()? {
                    Statement::CreateProjection { query, .. } => Ok(Statement::ExplainProjection { query }),
                    _ => Err(SyntaxError::whole(
                        "EXPLAIN takes a SELECT, a CREATE PROJECTION or the name of a projection",
                    )),
                }
            }
            _ => self.name().map(|name| Statement::ExplainName(name.full())),
        }
    }

    fn projection_name(&mut self) -> Result<String, SyntaxError> {
        self.tokens.expect_words(&["PROJECTION"])?;
        self.name().map(|name| name.full())
    }

    /// `PROJECTION name`, `SOURCE name`
    fn what_runs(&mut self, what: &str) -> Result<(Kind, String), SyntaxError> {
        const KINDS: [&str; 2] = ["PROJECTION", "SOURCE"];
        let kind = match self.tokens.peek_word().as_deref() {
            Some("SOURCE") => Kind::Source,
            Some("PROJECTION") => Kind::Projection,
            _ => return Err(self.tokens.expected_one_of(what, &KINDS)),
        };
        self.tokens.next();
        Ok((kind, self.name()?.full()))
    }

    fn kind(&mut self, what: &str) -> Result<Kind, SyntaxError> {
        const KINDS: [&str; 3] = ["STREAM", "SOURCE", "PROJECTION"];
        let kind = match self.tokens.peek_word().as_deref() {
            Some("STREAM") => Kind::Stream,
            Some("SOURCE") => Kind::Source,
            Some("PROJECTION") => Kind::Projection,
            _ => return Err(self.tokens.expected_one_of(what, &KINDS)),
        };
        self.tokens.next();
        Ok(kind)
    }

    /// `name`, `schema.name` or `schema."na.me"`; more parts belong to the name.
    fn name(&mut self) -> Result<Name, SyntaxError> {
        let first = self.tokens.identifier("a name")?;
        let mut rest: Vec<String> = Vec::new();
        while self.tokens.eat(&Token::Period) {
            rest.push(self.tokens.identifier("a name")?);
        }
        Ok(if rest.is_empty() {
            Name { schema: None, name: first }
        } else {
            Name { schema: Some(first), name: rest.join(".") }
        })
    }

    fn with(&mut self) -> Result<Options, SyntaxError> {
        if self.tokens.eat_words(&["WITH"]) { self.options() } else { Ok(Options::new()) }
    }

    /// `(name = value, …)`
    fn options(&mut self) -> Result<Options, SyntaxError> {
        self.tokens.expect(&Token::LParen, "`(`")?;
        let mut options = Options::new();
        loop {
            let place = self.tokens.span();
            let name = self.tokens.identifier("the name of an option")?;
            self.tokens.eat(&Token::Eq);
            let value = self.tokens.value()?;
            if options.insert(name.clone(), value).is_some() {
                return Err(SyntaxError::new(format!("the option `{name}` is there twice"), place));
            }
            if self.tokens.eat(&Token::RParen) {
                return Ok(options);
            }
            self.tokens.expect(&Token::Comma, "`,` or `)`")?;
        }
    }
}
