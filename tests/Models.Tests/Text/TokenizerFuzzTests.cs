using System.Text;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>However a tokenizer's files are damaged, they work or are refused with a reason, in little time and memory.</summary>
public sealed class TokenizerFuzzTests
{
    private const long MostMemory = 256L << 20; // allocated for one case

    private static readonly string[] Words =
    [
        "{", "}", "[", "]", "\"", ":", ",", "null", "true", "-1", "0", "1e9", "2097151", "99999999999", "1e999", "\\ud800", "\\u0000", "[[[[[[[[", "{\"type\":\"Sequence\",\"normalizers\":[",
        "{\"type\":\"NFKC\"}", "{\"type\":\"Lowercase\"}", "{\"type\":\"Strip\"}", "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"first\"}", "\"split\":false", "\"Unigram\"", "\"BPE\"",
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|b)++\\\\s\"},\"behavior\":\"Isolated\"}", "{\"type\":\"ByteLevel\"}", "\"byte_fallback\":true", "\"unk_id\":0", "\"unk_token\":\"a\"", "\"fuse_unk\":true,",
        "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"CAAAAAAEAAAABAAAYQBi\"}", "▁", "<0x41>", "😀", "\"lstrip\":true", "\"normalized\":true", "(", ")*", "{1000}", "\\\\p{", "|", "\"start\":1000000000",
    ];

    private static readonly string[] Seeds = [SmallTokenizers.ByteLevel, SmallTokenizers.SentencePiece, SmallTokenizers.Unigram];

    [Fact]
    public void A_damaged_tokenizer_json_is_read_or_refused() => Fuzz(Mutator.Cases, Seeds.Select(Encoding.UTF8.GetBytes).ToArray(), json => Tokenizer.FromJson(json));

    [Fact]
    public void Damaged_ranks_are_read_or_refused()
    {
        var lines = string.Concat(Enumerable.Range(0, 300).Select(id =>
            $"{Convert.ToBase64String(id < 256 ? [(byte)id] : [(byte)('a' + id % 7), (byte)('a' + id % 11), .. id > 280 ? "xy"u8 : ""u8])} {id}\n"));
        var folder = Directory.CreateTempSubdirectory("xds-").FullName;
        try
        {
            Fuzz(Mutator.Cases / 10, [Encoding.ASCII.GetBytes(lines)], file =>
            {
                File.WriteAllBytes(Path.Combine(folder, "tiktoken.model"), file);
                return Tokenizer.FromFolder(folder);
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Fuzz(int cases, byte[][] seeds, Func<byte[], Tokenizer> read)
    {
        var random = new Random(7);
        var mutator = new Mutator(random, Words);
        var readable = 0;
        for (var round = 0; round < cases; round++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                var tokenizer = read(mutator.Damage(seeds[round % seeds.Length]));
                readable++;
                foreach (var text in (ReadOnlySpan<string>)["", " ab abba<s>  b", "😀é\u0301 \ud800 \0中AB<0x41>", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b"])
                {
                    var ids = tokenizer.Encode(text, addSpecialTokens: true);
                    var decoder = tokenizer.CreateDecoder();
                    Assert.Equal(tokenizer.Decode(ids), string.Concat(ids.Select(decoder.Append)) + decoder.Flush());
                    tokenizer.Decode(ids, skipSpecialTokens: true);
                }
                tokenizer.Decode([-1, 0, 1, 2, 5, 100, int.MaxValue, int.MinValue]);
            }
            catch (TokenizerException error)
            {
                Assert.NotEmpty(error.Message);
            }
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(allocated < MostMemory, $"Case {round} took {allocated >> 20} MiB.");
        }
        Assert.True(readable > cases / 100, $"Only {readable} of {cases} damaged files could be read: the damage is too great to find anything.");
    }
}
