using System.Globalization;

namespace XDeepServe.Models.Text.Templates;

/// <summary>Reads expressions, with Jinja's order of precedence.</summary>
/// <param name="tokens">The tokens.</param>
internal sealed class ExpressionParser(TokenReader tokens)
{
    /// <summary>The names of variables read so far.</summary>
    public HashSet<string> Names { get; set; } = [];

    /// <summary>Reads an expression.</summary>
    /// <param name="choice">Whether <c>a if b else c</c> may stand here.</param>
    public Expression Parse(bool choice = true)
    {
        tokens.GuardDepth();
        var value = ParseOr();
        while (choice && tokens.Current.Is("if"))
        {
            var at = tokens.Next().At;
            var condition = ParseOr();
            value = new Choice(condition, value, tokens.Skip("else") ? Parse() : null, at);
        }
        return value;
    }

    /// <summary>Reads an expression, or several with commas between them as a tuple.</summary>
    public Expression ParseTuple(bool choice = true)
    {
        var first = Parse(choice);
        if (!tokens.Current.Is(","))
            return first;
        var items = new List<Expression> { first };
        while (tokens.Skip(",") && BeginsExpression(tokens.Current))
            items.Add(Parse(choice));
        return new Listing(items, tuple: true, first.At);
    }

    /// <summary>Reads filters onto a value: <c>| a | b(c)</c>.</summary>
    public Expression ParseFilters(Expression value)
    {
        while (tokens.Skip("|"))
            value = ParseFilter(value);
        return value;
    }

    /// <summary>Reads one filter, without the bar.</summary>
    public Expression ParseFilter(Expression value)
    {
        var name = tokens.Expect(TokenKind.Name, "the name of a filter");
        var filter = Filters.Find(name.Text) ?? throw name.At.Error($"the filter '{name.Text}' is not supported.");
        return new FilterCall(value, filter, tokens.Current.Is("(") ? ParseArguments() : ArgumentList.None, name.At);
    }

    private Expression ParseOr()
    {
        var left = ParseAnd();
        while (tokens.Current.Is("or"))
            left = new Junction(and: false, left, Behind(ParseAnd, out var at), at);
        return left;
    }

    private Expression ParseAnd()
    {
        var left = ParseNot();
        while (tokens.Current.Is("and"))
            left = new Junction(and: true, left, Behind(ParseNot, out var at), at);
        return left;
    }

    private Expression ParseNot()
    {
        tokens.GuardDepth();
        return tokens.Current.Is("not") ? new Negation(Behind(ParseNot, out var at), at) : ParseComparison();
    }

    private Expression ParseComparison()
    {
        var first = ParseSum();
        var rest = new List<(string, Expression)>();
        var at = tokens.Current.At;
        while (true)
        {
            if (tokens.Current.Kind == TokenKind.Operator && tokens.Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=" || tokens.Current.Is("in"))
                rest.Add((tokens.Next().Text, ParseSum()));
            else if (tokens.Current.Is("not") && tokens.Following.Is("in"))
            {
                tokens.Next();
                tokens.Next();
                rest.Add(("not in", ParseSum()));
            }
            else
                return rest.Count == 0 ? first : new Comparison(first, rest, at);
        }
    }

    private Expression ParseSum() => ParseLeft(ParseConcatenation, "+", "-");

    private Expression ParseConcatenation()
    {
        var left = ParseProduct();
        while (tokens.Current.Is("~"))
            left = new Concatenation(left, Behind(ParseProduct, out var at), at);
        return left;
    }

    private Expression ParseProduct() => ParseLeft(ParsePower, "*", "/", "//", "%");

    private Expression ParsePower() => ParseLeft(() => ParseUnary(), "**");

    private Expression ParseLeft(Func<Expression> operand, params ReadOnlySpan<string> symbols)
    {
        var left = operand();
        while (tokens.Current.Kind == TokenKind.Operator && symbols.Contains(tokens.Current.Text))
        {
            var symbol = tokens.Next();
            left = new Operation(symbol.Text, left, operand(), symbol.At);
        }
        return left;
    }

    private Expression Behind(Func<Expression> operand, out Position at)
    {
        at = tokens.Next().At;
        return operand();
    }

    private Expression ParseUnary(bool filters = true)
    {
        tokens.GuardDepth();
        var token = tokens.Current;
        Expression value;
        if (token.Is("-") || token.Is("+"))
        {
            tokens.Next();
            value = new Sign(token.Text == "-", ParseUnary(filters: false), token.At);
        }
        else
        {
            value = ParsePrimary();
        }
        value = ParsePostfix(value);
        while (filters)
        {
            if (tokens.Skip("|"))
                value = ParseFilter(value);
            else if (tokens.Current.Is("is"))
                value = ParseTest(value);
            else if (tokens.Current.Is("("))
                value = new Call(value, ParseArguments(), token.At);
            else
                break;
        }
        return value;
    }

    private Expression ParsePrimary()
    {
        var token = tokens.Next();
        switch (token.Kind)
        {
            case TokenKind.Name:
                Names.Add(token.Text);
                return token.Text switch
                {
                    "true" or "True" => new Constant(true, token.At),
                    "false" or "False" => new Constant(false, token.At),
                    "none" or "None" => new Constant(null, token.At),
                    _ => new Variable(token.Text, token.At),
                };
            case TokenKind.String:
                var text = token.Text;
                while (tokens.Current.Kind == TokenKind.String)
                    text += tokens.Next().Text;
                return new Constant(text, token.At);
            case TokenKind.Integer:
                return new Constant(long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out var whole)
                    ? whole : throw token.At.Error($"the number {token.Text} is too large."), token.At);
            case TokenKind.Float:
                return new Constant(double.Parse(token.Text, NumberStyles.Float, CultureInfo.InvariantCulture), token.At);
            case TokenKind.Operator when token.Text == "(":
                var inner = tokens.Current.Is(")") ? new Listing([], tuple: true, token.At) : ParseTuple();
                tokens.Expect(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return new Listing(ParseSeries("]", () => Parse()), tuple: false, token.At);
            case TokenKind.Operator when token.Text == "{":
                return new MappingLiteral(ParseSeries("}", () =>
                {
                    var key = Parse();
                    tokens.Expect(":");
                    return (key, Parse());
                }), token.At);
            default:
                throw token.At.Error($"expected an expression, found {token}.");
        }
    }

    /// <summary>Reads what stands between brackets with commas between, past the closing one.</summary>
    private List<T> ParseSeries<T>(string close, Func<T> item)
    {
        var items = new List<T>();
        while (!tokens.Current.Is(close))
        {
            if (items.Count > 0)
                tokens.Expect(",");
            if (!tokens.Current.Is(close))
                items.Add(item());
        }
        tokens.Next();
        return items;
    }

    private Expression ParsePostfix(Expression value)
    {
        while (true)
        {
            var at = tokens.Current.At;
            if (tokens.Skip("."))
            {
                var name = tokens.Next();
                value = name.Kind switch
                {
                    TokenKind.Name => new AttributeAccess(value, name.Text, name.At),
                    TokenKind.Integer when int.TryParse(name.Text, CultureInfo.InvariantCulture, out var index) => new ItemAccess(value, new Constant((long)index, name.At), name.At),
                    _ => throw name.At.Error($"expected a name behind '.', found {name}."),
                };
            }
            else if (tokens.Skip("["))
                value = ParseSubscript(value, at);
            else if (tokens.Current.Is("("))
                value = new Call(value, ParseArguments(), at);
            else
                return value;
        }
    }

    private Expression ParseSubscript(Expression value, Position at)
    {
        Expression? Part() => tokens.Current.Is(":") || tokens.Current.Is("]") ? null : Parse();
        var first = Part();
        if (tokens.Skip("]"))
            return new ItemAccess(value, first ?? throw at.Error("expected an expression between the brackets."), at);
        tokens.Expect(":");
        var last = Part();
        var step = tokens.Skip(":") ? Part() : null;
        tokens.Expect("]");
        return new Slice(value, first, last, step, at);
    }

    private TestCall ParseTest(Expression value)
    {
        tokens.Expect("is");
        var negated = tokens.Skip("not");
        var name = tokens.Expect(TokenKind.Name, "the name of a test");
        var test = Tests.Find(name.Text) ?? throw name.At.Error($"the test '{name.Text}' is not supported.");
        var arguments = ArgumentList.None;
        if (tokens.Current.Is("("))
            arguments = ParseArguments();
        else if (BeginsExpression(tokens.Current) && !tokens.Current.Is("-") && !tokens.Current.Is("+"))
            arguments = new([ParsePostfix(ParsePrimary())], []);
        return new TestCall(value, test, arguments, negated, name.At);
    }

    private ArgumentList ParseArguments()
    {
        tokens.Expect("(");
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        ParseSeries(")", () =>
        {
            if (tokens.Current.Kind == TokenKind.Name && tokens.Following.Is("="))
            {
                var name = tokens.Next().Text;
                tokens.Next();
                named.Add((name, Parse()));
            }
            else if (named.Count > 0)
                throw tokens.Current.At.Error("an argument without a name stands behind one with a name.");
            else
                positional.Add(Parse());
            return 0;
        });
        return new(positional, named);
    }

    private static bool BeginsExpression(Token token) => token.Kind switch
    {
        TokenKind.String or TokenKind.Integer or TokenKind.Float => true,
        TokenKind.Name => token.Text is not ("if" or "else" or "and" or "or" or "in" or "is" or "not"),
        TokenKind.Operator => token.Text is "(" or "[" or "{" or "-" or "+",
        _ => false,
    };
}
