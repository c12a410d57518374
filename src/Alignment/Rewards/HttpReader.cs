using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using XDeepServe.Alignment.Prompts;
using XDeepServe.FlowServe;

namespace XDeepServe.Alignment.Rewards;

/// <summary>
/// Reads from a server: its template and tokenizer write the prompts (<c>/tokenize</c>), <c>/v1/score</c> reads labels and <c>/classify</c> a score head.
/// What it says is what the engine behind the server would say in this process.
/// </summary>
/// <param name="http">With the server's address, such as <c>http://127.0.0.1:8000</c>, as its base, and its key, if it wants one, as a header. Its time-out bounds every call. Stays the caller's.</param>
/// <param name="atOnce">Requests under way at once; those beyond wait here.</param>
public sealed class HttpReader(HttpClient http, int atOnce = 32) : IConversationReader, IDisposable
{
    private static readonly object PlainTemplate = new { enable_thinking = false }; // as PromptWriter renders
    private readonly SemaphoreSlim room = new(atOnce);
    private readonly ConcurrentDictionary<string, int> labelIds = new();

    /// <inheritdoc/>
    /// <exception cref="HttpRequestException">The server does not answer, or refuses for now.</exception>
    public async Task<IReadOnlyList<double>> ReadLabelsAsync(IReadOnlyList<Message> messages, IReadOnlyList<string> labels, CancellationToken cancel = default)
    {
        List<int> ids = [];
        foreach (string label in labels)
            ids.Add(await LabelIdAsync(label, cancel).ConfigureAwait(false));
        (int[] prompt, int most) = await TokensAsync(messages, opensAnswer: true, cancel).ConfigureAwait(false);
        if (prompt.Length < 2)
            throw new InvalidRequestException("The conversation is empty.", "messages");
        if (prompt.Length >= most)
            throw TooLong($"The conversation has {prompt.Length} tokens, but the server's longest context is {most}, of which at least one must be left for the answer.");
        JsonElement answer = await PostAsync("v1/score", new { query = prompt[..^1], items = new[] { prompt[^1..] }, label_token_ids = ids, apply_softmax = true }, cancel).ConfigureAwait(false);
        return [.. Read(answer, "scores", value => value[0].EnumerateArray().Select(share => share.GetDouble()))];
    }

    /// <inheritdoc/>
    /// <exception cref="HttpRequestException">The server does not answer, or refuses for now.</exception>
    public async Task<double> ReadScoreAsync(IReadOnlyList<Message> messages, CancellationToken cancel = default)
    {
        JsonElement answer;
        try
        {
            answer = await PostAsync("classify", new { messages = Fields(messages), use_activation = false, parse_special = false, chat_template_kwargs = PlainTemplate }, cancel).ConfigureAwait(false);
        }
        catch (InvalidRequestException refused)
        {
            // The status says that the request is at fault, not whether its length is.
            (int[] ids, int most) = await TokensAsync(messages, opensAnswer: false, cancel).ConfigureAwait(false);
            throw ids.Length >= most ? TooLong(refused.Message) : refused;
        }
        if (Read<string?>(answer, "data", value => [value[0].GetProperty("label").GetString()])[0] == PreferenceRewardModel.Label)
            throw new InvalidRequestException("The server's model tells which of two answers is preferred and scores no single one: load it here, without a server.", "model");
        double[] scores = [.. Read(answer, "data", value => value[0].GetProperty("probs").EnumerateArray().Select(score => score.GetDouble()))];
        return scores.Length == 1 ? scores[0] : throw new InvalidRequestException($"The server's model has a head of {scores.Length} values; a reward is one.", "model");
    }

    /// <inheritdoc/>
    public void Dispose() => room.Dispose();

    private static IEnumerable<object> Fields(IReadOnlyList<Message> messages) => messages.Select(message => message.Images.Count == 0
        ? new { role = message.Role, content = message.Content }
        : throw new ArgumentException("A turn shows an image, and a server is asked about text alone."));

    private async Task<int> LabelIdAsync(string label, CancellationToken cancel)
    {
        if (labelIds.TryGetValue(label, out int known))
            return known;
        (int[] ids, _) = await TokensAsync(new { prompt = label, add_special_tokens = false }, cancel).ConfigureAwait(false);
        return labelIds[label] = ids.Length == 1 ? ids[0] : throw new ArgumentException($"'{label}' is {ids.Length} tokens of the server's model; a label must be one.");
    }

    private static InvalidRequestException TooLong(string message) => new(message, "messages") { TooLong = true };

    private Task<(int[] Ids, int Most)> TokensAsync(IReadOnlyList<Message> messages, bool opensAnswer, CancellationToken cancel) =>
        TokensAsync(new { messages = Fields(messages), add_generation_prompt = opensAnswer, parse_special = false, chat_template_kwargs = PlainTemplate }, cancel);

    // Also the server's longest context, which every prompt and its answer must fit.
    private async Task<(int[] Ids, int Most)> TokensAsync(object body, CancellationToken cancel)
    {
        JsonElement answer = await PostAsync("tokenize", body, cancel).ConfigureAwait(false);
        return ([.. Read(answer, "tokens", value => value.EnumerateArray().Select(id => id.GetInt32()))], Read<int>(answer, "max_model_len", value => [value.GetInt32()])[0]);
    }

    private async Task<JsonElement> PostAsync(string path, object body, CancellationToken cancel)
    {
        await room.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            using HttpResponseMessage response = await http.PostAsJsonAsync(path, body, cancel).ConfigureAwait(false);
            string text = await response.Content.ReadAsStringAsync(cancel).ConfigureAwait(false);
            return response.StatusCode switch
            {
                HttpStatusCode.OK => JsonElement.Parse(text),
                HttpStatusCode.BadRequest => throw new InvalidRequestException(Complaint(text), "messages"),
                _ => throw new HttpRequestException($"{new Uri(http.BaseAddress!, path)} answered {(int)response.StatusCode}: {Complaint(text)}", null, response.StatusCode),
            };
        }
        catch (JsonException broken)
        {
            throw new HttpRequestException($"{new Uri(http.BaseAddress!, path)} did not answer with JSON: is it an xds server?", broken);
        }
        finally
        {
            room.Release();
        }
    }

    private List<T> Read<T>(JsonElement answer, string field, Func<JsonElement, IEnumerable<T>> read)
    {
        try
        {
            return [.. read(answer.GetProperty(field))];
        }
        catch (Exception other) when (other is KeyNotFoundException or InvalidOperationException or IndexOutOfRangeException or FormatException)
        {
            throw new HttpRequestException($"{http.BaseAddress} answered without '{field}' as expected: is it an xds server?", other);
        }
    }

    private static string Complaint(string text)
    {
        try
        {
            JsonElement answer = JsonElement.Parse(text);
            return answer.ValueKind == JsonValueKind.Object && answer.TryGetProperty("error", out JsonElement error) && error.ValueKind == JsonValueKind.Object && error.TryGetProperty("message", out JsonElement message) && message.ValueKind == JsonValueKind.String
                ? message.GetString()!
                : text;
        }
        catch (JsonException)
        {
            return text; // a proxy's page; its words are the best there are
        }
    }
}
