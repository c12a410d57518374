using System.Buffers.Text;
using System.Globalization;
using System.Text;
using XDeepServe.Models.Text.Splitting;

namespace XDeepServe.Models.Text;

/// <summary>
/// A tiktoken.model, as Kimi K2 has one: a line for every token with its bytes in base64 and its rank, which is its id. The
/// rules around it stand in no file: they are those of the model's published code.
/// </summary>
internal static class TiktokenFile
{
    private const int Reserved = 256; // ids behind the vocabulary for special tokens, named or not

    /// <summary>Reads a file, together with what stands beside it.</summary>
    /// <param name="lines">The file.</param>
    /// <param name="settings">Names the special tokens by id.</param>
    public static TokenizerContent Read(ReadOnlySpan<byte> lines, TokenizerSettings settings)
    {
        var model = new BytePairModel(byteLevel: true) { IgnoreMerges = true };
        var (line, count) = (0, 0);
        foreach (var range in lines.Split((byte)'\n'))
        {
            line++;
            var text = lines[range].TrimEnd((byte)'\r');
            if (text.IsEmpty)
                continue;
            var space = text.IndexOf((byte)' ');
            if (space < 0 || !Utf8Parser.TryParse(text[(space + 1)..], out int id, out var used) || used != text.Length - space - 1)
                throw new TokenizerException($"Line {line} of tiktoken.model is not a token and its rank. Fetch the file again.");
            model.Tokens.Add(id, Decode(text[..space], line));
            count++;
        }
        if (count == 0)
            throw new TokenizerException("tiktoken.model holds no tokens. Fetch the file again.");
        model.MergeByRank(id => id);
        var pipeline = new TextPipeline([], [new LongRuns(), PreTokenizerReader.Words(CasedWords.HanSource)], [], [], Rules: null, "kimi-k2");
        return new(model, ReadSpecial(settings, count), pipeline, settings);
    }

    private static byte[] Decode(ReadOnlySpan<byte> base64, int line)
    {
        var bytes = new byte[Base64.GetMaxDecodedFromUtf8Length(base64.Length)];
        if (Base64.DecodeFromUtf8(base64, bytes, out _, out var written) != System.Buffers.OperationStatus.Done || written == 0)
            throw new TokenizerException($"Line {line} of tiktoken.model holds no token in base64. Fetch the file again.");
        return bytes[..written];
    }

    private static List<AddedToken> ReadSpecial(TokenizerSettings settings, int first)
    {
        var named = AddedTokenReader.Read(settings).ToDictionary(token => token.Id);
        var tokens = new List<AddedToken>();
        for (var id = first; id < first + Reserved; id++)
        {
            // The published code knows no other kind than special ones, found as they are written.
            var content = named.TryGetValue(id, out var token) ? token.Content : string.Create(CultureInfo.InvariantCulture, $"<|reserved_token_{id}|>");
            tokens.Add(new(id, content, token?.Special ?? true, Normalized: false, SingleWord: false, StripLeft: false, StripRight: false));
        }
        return tokens;
    }
}
