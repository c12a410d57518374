namespace XDeepServe.Models.Text;

/// <summary>A tokenizer file that cannot be used. The message says what is wrong with it and what to do.</summary>
public sealed class TokenizerException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong and what to do.</param>
    /// <param name="inner">What revealed it, if anything did.</param>
    public TokenizerException(string message, Exception? inner = null) : base(message, inner) { }
}
