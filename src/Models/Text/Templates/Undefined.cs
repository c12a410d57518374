namespace XDeepServe.Models.Text.Templates;

/// <summary>The value of what does not exist: empty where it is put out, an error where it is worked with.</summary>
/// <param name="Reason">Why it does not exist, for the error.</param>
internal sealed record Undefined(string Reason);
