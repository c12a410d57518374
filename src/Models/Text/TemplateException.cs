namespace XDeepServe.Models.Text;

/// <summary>A chat template that cannot be read or rendered. The message says what is wrong and where.</summary>
public sealed class TemplateException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong.</param>
    /// <param name="line">The line in the template, from 1.</param>
    /// <param name="column">The column in the line, from 1.</param>
    /// <param name="raised">Whether the template itself refused its input.</param>
    public TemplateException(string message, int line, int column, bool raised = false)
        : base(raised ? message : $"Chat template, line {line}, column {column}: {message}") =>
        (Line, Column, Raised) = (line, column, raised);

    /// <summary>The line in the template, from 1.</summary>
    public int Line { get; }

    /// <summary>The column in the line, from 1.</summary>
    public int Column { get; }

    /// <summary>Whether the template itself refused its input with <c>raise_exception</c>; the message is the template's then.</summary>
    public bool Raised { get; }
}
