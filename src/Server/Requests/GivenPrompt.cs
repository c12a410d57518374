using System.Text.Json;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>A prompt as the client gave it: a text, or token ids.</summary>
internal readonly record struct GivenPrompt(string? Text, int[]? Ids)
{
    private const int MostPrompts = 1024;

    /// <summary>A prompt given as text.</summary>
    public static GivenPrompt OfText(string text) => new(text, null);

    /// <summary>A prompt given as ids.</summary>
    public static GivenPrompt OfIds(int[] ids) => new(null, ids);

    /// <summary>Reads one prompt or several: a string, an array of strings, an array of token ids, or an array of arrays of token ids.</summary>
    /// <param name="fields">The request.</param>
    /// <param name="field">Where they stand.</param>
    public static List<GivenPrompt> ReadAll(JsonFields fields, string field)
    {
        JsonElement given = fields.Find(field) ?? throw ApiException.BadRequest($"'{field}' is missing.", field);
        if (given.ValueKind == JsonValueKind.String)
        {
            return [GivenPrompt.OfText(JsonFields.Text(given, field))];
        }
        if (given.ValueKind != JsonValueKind.Array)
        {
            throw Wrong(field);
        }
        int count = given.GetArrayLength();
        if (count == 0)
        {
            throw ApiException.BadRequest($"'{field}' must not be empty.", field);
        }
        if (given[0].ValueKind == JsonValueKind.Number)
        {
            return [GivenPrompt.OfIds(ReadIds(given, field))];
        }
        if (count > MostPrompts)
        {
            throw ApiException.BadRequest($"'{field}' may hold at most {MostPrompts} prompts, but holds {count}.", field);
        }
        List<GivenPrompt> prompts = [];
        foreach (JsonElement element in given.EnumerateArray())
        {
            prompts.Add(element.ValueKind switch
            {
                JsonValueKind.String => GivenPrompt.OfText(JsonFields.Text(element, field)),
                JsonValueKind.Array => GivenPrompt.OfIds(ReadIds(element, field)),
                _ => throw Wrong(field),
            });
        }
        return prompts;
    }

    /// <summary>The ids of a JSON array; whether the model knows them is checked later.</summary>
    public static int[] ReadIds(JsonElement array, string name)
    {
        int[] ids = new int[array.GetArrayLength()];
        int next = 0;
        foreach (JsonElement id in array.EnumerateArray())
        {
            if (id.ValueKind != JsonValueKind.Number || !id.TryGetInt32(out ids[next]) || ids[next] < 0)
            {
                throw ApiException.BadRequest($"'{name}[{next}]' must be a token id: a whole number of at least 0.", name);
            }
            next++;
        }
        return ids;
    }

    private static ApiException Wrong(string field) =>
        ApiException.BadRequest($"'{field}' must be a string, an array of strings, an array of token ids, or an array of arrays of token ids.", field);
}
