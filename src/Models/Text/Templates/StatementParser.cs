namespace XDeepServe.Models.Text.Templates;

/// <summary>Reads the statements of a template.</summary>
/// <param name="tokens">The tokens.</param>
internal sealed class StatementParser(TokenReader tokens)
{
    private readonly ExpressionParser expressions = new(tokens);
    private int loops; // open around the place at hand

    /// <summary>Reads all of a template.</summary>
    public Statement ParseTemplate()
    {
        var body = ParseUntil(out var end);
        return end.Kind == TokenKind.End ? body : throw end.At.Error($"'{end.Text}' closes nothing.");
    }

    /// <summary>Reads statements up to a word that ends or divides a block.</summary>
    /// <param name="end">The word, read already; the end of the template if there is none.</param>
    private Sequence ParseUntil(out Token end)
    {
        tokens.GuardDepth();
        var at = tokens.Current.At;
        var statements = new List<Statement>();
        while (true)
        {
            var token = tokens.Next();
            switch (token.Kind)
            {
                case TokenKind.End:
                    end = token;
                    return new(statements, at);
                case TokenKind.Text:
                    statements.Add(new Verbatim(token.Text, token.At));
                    break;
                case TokenKind.OutputBegin:
                    statements.Add(new Print(expressions.ParseTuple(), token.At));
                    tokens.Expect(TokenKind.OutputEnd, "'}}'");
                    break;
                default:
                    var word = tokens.Expect(TokenKind.Name, "a statement");
                    if (word.Text is "elif" or "else" || word.Text.StartsWith("end", StringComparison.Ordinal))
                    {
                        end = word;
                        return new(statements, at);
                    }
                    statements.Add(ParseStatement(word));
                    EndBlock();
                    break;
            }
        }
    }

    private Statement ParseStatement(Token word) => word.Text switch
    {
        "if" => ParseBranch(word),
        "for" => ParseLoop(word),
        "set" => ParseAssignment(word),
        "macro" => ParseMacro(word),
        "filter" => ParseFilterBlock(word),
        "call" => ParseCallBlock(word),
        "with" => ParseWith(word),
        "generation" => ParseBody("generation", word),
        "break" or "continue" => loops > 0
            ? new Leave(word.Text == "break" ? Flow.Break : Flow.Continue, word.At)
            : throw word.At.Error($"'{word.Text}' stands outside a loop."),
        _ => throw word.At.Error($"the statement '{word.Text}' is not supported."),
    };

    private void EndBlock() => tokens.Expect(TokenKind.BlockEnd, "'%}'");

    /// <summary>Reads the body of a block up to its end.</summary>
    private Sequence ParseBody(string name, Token opening)
    {
        EndBlock();
        var body = ParseUntil(out var end);
        Close(name, opening, end);
        return body;
    }

    private static void Close(string name, Token opening, Token end)
    {
        if (end.Kind == TokenKind.End)
            throw opening.At.Error($"'{opening.Text}' is not closed with 'end{name}'.");
        if (end.Text != "end" + name)
            throw end.At.Error($"expected 'end{name}', found '{end.Text}'.");
    }

    private Branch ParseBranch(Token opening)
    {
        var cases = new List<(Expression, Statement)>();
        Statement? otherwise = null;
        Token end;
        do
        {
            var condition = expressions.ParseTuple(choice: false);
            EndBlock();
            cases.Add((condition, ParseUntil(out end)));
        }
        while (end.Text == "elif" && end.Kind == TokenKind.Name);
        if (end.Kind == TokenKind.Name && end.Text == "else")
        {
            EndBlock();
            otherwise = ParseUntil(out end);
        }
        Close("if", opening, end);
        return new(cases, otherwise, opening.At);
    }

    private Loop ParseLoop(Token opening)
    {
        var target = ParseTarget(attributes: false);
        tokens.Expect("in");
        var values = expressions.ParseTuple(choice: false);
        var condition = tokens.Skip("if") ? expressions.Parse() : null;
        var recursive = tokens.Skip("recursive");
        EndBlock();
        loops++;
        var body = ParseUntil(out var end);
        loops--;
        Statement? otherwise = null;
        if (end.Kind == TokenKind.Name && end.Text == "else")
        {
            EndBlock();
            otherwise = ParseUntil(out end);
        }
        Close("for", opening, end);
        return new(target, values, condition, recursive, body, otherwise, opening.At);
    }

    private Assignment ParseAssignment(Token opening)
    {
        var target = ParseTarget(attributes: true);
        if (tokens.Skip("="))
            return new(target, expressions.ParseTuple(), opening.At);
        // A block: its text is the value; filters on it run last.
        var marker = new Marker(opening.At);
        var chain = expressions.ParseFilters(marker);
        marker.Inner = new Captured(ParseBody("set", opening), opening.At);
        return new(target, chain, opening.At);
    }

    private Print ParseFilterBlock(Token opening)
    {
        var marker = new Marker(opening.At);
        var chain = expressions.ParseFilters(expressions.ParseFilter(marker));
        marker.Inner = new Captured(ParseBody("filter", opening), opening.At);
        return new(chain, opening.At);
    }

    private Macro ParseMacro(Token opening)
    {
        var name = tokens.Expect(TokenKind.Name, "the name of the macro").Text;
        return new(ParseMacroBody(name, ParseParameters(), "macro", opening), opening.At);
    }

    private CallBlock ParseCallBlock(Token opening)
    {
        var parameters = tokens.Current.Is("(") ? ParseParameters() : [];
        var call = expressions.Parse() as Call ?? throw opening.At.Error("'call' needs the call of a macro.");
        return new(call, ParseMacroBody("caller", parameters, "call", opening), opening.At);
    }

    private With ParseWith(Token opening)
    {
        var values = new List<(Target, Expression)>();
        while (tokens.Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0)
                tokens.Expect(",");
            var target = ParseTarget(attributes: false, tuple: false);
            tokens.Expect("=");
            values.Add((target, expressions.Parse()));
        }
        return new(values, ParseBody("with", opening), opening.At);
    }

    private List<(string, Expression?)> ParseParameters()
    {
        var parameters = new List<(string, Expression?)>();
        tokens.Expect("(");
        while (!tokens.Skip(")"))
        {
            if (parameters.Count > 0)
                tokens.Expect(",");
            var parameter = tokens.Expect(TokenKind.Name, "the name of a parameter").Text;
            parameters.Add((parameter, tokens.Skip("=") ? expressions.Parse() : null));
        }
        return parameters;
    }

    private MacroBody ParseMacroBody(string name, List<(string, Expression?)> parameters, string word, Token opening)
    {
        var (aroundLoops, aroundNames) = (loops, expressions.Names);
        loops = 0;
        expressions.Names = [];
        var body = ParseBody(word, opening);
        var macro = new MacroBody(name, parameters, body, opening.At,
            TakesMore: expressions.Names.Contains("varargs"), TakesNamed: expressions.Names.Contains("kwargs"), TakesCaller: expressions.Names.Contains("caller"));
        aroundNames.UnionWith(expressions.Names);
        (loops, expressions.Names) = (aroundLoops, aroundNames);
        return macro;
    }

    private Target ParseTarget(bool attributes, bool tuple = true)
    {
        var at = tokens.Current.At;
        var targets = new List<Target>();
        var several = false;
        var bracket = tokens.Skip("(");
        do
        {
            if (targets.Count > 0 && tokens.Current.Kind != TokenKind.Name)
                break;
            var name = tokens.Expect(TokenKind.Name, "a name");
            if (attributes && tokens.Skip("."))
                targets.Add(new AttributeTarget(name.Text, tokens.Expect(TokenKind.Name, "the name of an attribute").Text, name.At));
            else
                targets.Add(new NameTarget(name.Text, name.At));
            several |= (tuple || bracket) && tokens.Current.Is(",");
        }
        while ((tuple || bracket) && tokens.Skip(","));
        if (bracket)
            tokens.Expect(")");
        return several ? new TupleTarget(targets, at) : targets[0];
    }

    /// <summary>Stands for a block's text until the block has been read.</summary>
    private sealed class Marker(Position at) : Expression(at)
    {
        public Expression? Inner { get; set; }

        protected override object? Evaluate(Rendering rendering) => Inner!.Value(rendering);
    }
}
