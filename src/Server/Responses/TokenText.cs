using System.Text;
using System.Text.Json;
using XDeepServe.Models.Text;

namespace XDeepServe.Server.Responses;

/// <summary>Names tokens in log-probabilities: by their text, or as <c>token_id:N</c>.</summary>
internal sealed class TokenText(Tokenizer? tokenizer, bool asIds)
{
    /// <summary>A token's name; bytes that are no text by themselves show as replacement characters.</summary>
    public string Name(int id) =>
        asIds || tokenizer is null ? $"token_id:{id}" : Text(tokenizer, id);

    /// <summary>A token's text, whatever its name is.</summary>
    public string? Decoded(int id) => tokenizer is null ? null : Text(tokenizer, id);

    /// <summary>Writes a token's bytes as an array of numbers, or null without a tokenizer.</summary>
    public void WriteBytes(Utf8JsonWriter json, int id)
    {
        if (tokenizer is null)
        {
            json.WriteNull("bytes"u8);
            return;
        }
        json.WriteStartArray("bytes"u8);
        foreach (byte value in tokenizer.Bytes(id))
        {
            json.WriteNumberValue(value);
        }
        json.WriteEndArray();
    }

    private static string Text(Tokenizer tokenizer, int id) => Encoding.UTF8.GetString(tokenizer.Bytes(id));
}
