namespace XDeepServe.Models.Text.Templates;

/// <summary>A place in a template.</summary>
/// <param name="Line">The line, from 1.</param>
/// <param name="Column">The column, from 1.</param>
internal readonly record struct Position(int Line, int Column)
{
    /// <summary>An error at this place.</summary>
    public TemplateException Error(string message) => new(message, Line, Column);
}
