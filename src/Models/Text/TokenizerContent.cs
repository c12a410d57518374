namespace XDeepServe.Models.Text;

/// <summary>What a tokenizer is made of, whichever file it came from.</summary>
/// <param name="Model">The vocabulary and how pieces become tokens.</param>
/// <param name="Added">Tokens found in a text as a whole, each id once.</param>
/// <param name="Pipeline">How text is prepared.</param>
/// <param name="Settings">The names of the special tokens and the chat template.</param>
internal sealed record TokenizerContent(TokenModel Model, IReadOnlyList<AddedToken> Added, TextPipeline Pipeline, TokenizerSettings Settings);
