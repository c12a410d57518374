using System.Text.Json.Nodes;
using XDeepServe.Models.Text.Templates;

namespace XDeepServe.Models.Text;

/// <summary>
/// A chat template: turns messages into the text that a model was trained on. The language is the part of Jinja that
/// chat templates use, rendered as Hugging Face transformers does (trim_blocks, lstrip_blocks, loop controls). Never
/// changes; any thread may use it.
/// </summary>
public sealed class ChatTemplate
{
    private readonly Statement body;
    private readonly IReadOnlyDictionary<string, string> specialTokens;

    private ChatTemplate(string source, Statement body, IReadOnlyDictionary<string, string> specialTokens) =>
        (Source, this.body, this.specialTokens) = (source, body, specialTokens);

    /// <summary>What it was read from.</summary>
    public string Source { get; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">Its text.</param>
    /// <exception cref="TemplateException">It is broken or uses what is not supported.</exception>
    public static ChatTemplate Parse(string source) => Parse(source, new Dictionary<string, string>());

    /// <summary>Reads a template.</summary>
    /// <param name="source">Its text.</param>
    /// <param name="specialTokens">Variables that it has unless they are given, such as <c>bos_token</c>.</param>
    /// <exception cref="TemplateException">It is broken or uses what is not supported.</exception>
    public static ChatTemplate Parse(string source, IReadOnlyDictionary<string, string> specialTokens)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new(source, new StatementParser(new TokenReader(new Lexer(source).Read())).ParseTemplate(), specialTokens);
    }

    /// <summary>Whether a folder holds a template.</summary>
    /// <exception cref="TokenizerException">A file in it is broken.</exception>
    public static bool IsIn(string folder) => TokenizerSettings.FromFolder(folder).ChatTemplate is not null;

    /// <summary>Reads the template of a model folder; no other file of the model is needed.</summary>
    /// <param name="folder">Holds chat_template.jinja or names a template in tokenizer_config.json.</param>
    /// <exception cref="TemplateException">The template is broken or uses what is not supported.</exception>
    /// <exception cref="TokenizerException">There is none, or a file is broken.</exception>
    public static ChatTemplate FromFolder(string folder)
    {
        var settings = TokenizerSettings.FromFolder(folder);
        return Parse(settings.ChatTemplate ?? throw new TokenizerException($"{folder} holds no chat template."), settings.SpecialTokens);
    }

    /// <summary>Renders the template. Work and output are bounded.</summary>
    /// <param name="variables">What the template may name: <c>messages</c>, <c>tools</c>, <c>add_generation_prompt</c>, <c>bos_token</c> and so on.
    /// As in transformers, <c>tools</c> and <c>documents</c> are none if not given.</param>
    /// <param name="clock">Tells the time to templates that ask; the system's clock if null.</param>
    /// <exception cref="TemplateException">The template fails on these variables, or refuses them.</exception>
    public string Render(JsonObject variables, TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(variables);
        var rendering = new Rendering(clock ?? TimeProvider.System);
        rendering.Scope.Set("tools", null);
        rendering.Scope.Set("documents", null);
        foreach (var (name, token) in specialTokens)
            rendering.Scope.Set(name, token);
        try
        {
            foreach (var (name, value) in variables)
                rendering.Scope.Set(name, Values.FromJson(value));
            rendering.OpenTemplateScope();
            body.Run(rendering);
        }
        catch (InsufficientExecutionStackException)
        {
            throw new TemplateException("values are nested too deeply.", body.At.Line, body.At.Column);
        }
        return rendering.Output.ToString();
    }
}
