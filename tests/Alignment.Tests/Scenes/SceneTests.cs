using System.Text.Json;
using XDeepServe.Alignment.Scenes;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;

namespace XDeepServe.Alignment.Tests.Scenes;

public sealed class SceneTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("scenes").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void What_a_caption_states_is_read_back()
    {
        Random random = new(1);
        for (int round = 0; round < 200; round++)
        {
            Caption caption = Caption.Of(Scene.Draw(random));
            Caption read = Caption.Read(caption.Write(round));
            Assert.Equal(caption.Objects, read.Objects);
            Assert.Equal(caption.Count, read.Count);
        }
        Assert.Empty(Caption.Read("At the left there is a small plaid circle. At the moon there is a large red circle. Nothing.").Objects);
    }

    [Fact]
    public void Scores_are_shares_of_objects_covered_and_of_statements_that_are_wrong()
    {
        SceneObject circle = new(Extent.Small, Colour.Red, Shape.Circle, 0), square = new(Extent.Large, Colour.Blue, Shape.Square, 4);
        Scene scene = new([circle, square], 0);
        Assert.Equal(new CaptionScore(1, 0), Caption.Of(scene).Score(scene));
        Assert.Equal(new CaptionScore(0.5, 0), new Caption([circle], null).Score(scene));
        Assert.Equal(new CaptionScore(0.5, 2 / 3.0), new Caption([circle, square with { Colour = Colour.Green }], 3).Score(scene));
        Assert.Equal(new CaptionScore(0, 0), new Caption([], null).Score(scene));
    }

    [Fact]
    public void A_captioner_without_faults_tells_the_truth_and_one_with_faults_tells_less_of_it()
    {
        Random random = new(2);
        double wrong = 0, covered = 0;
        for (int round = 0; round < 300; round++)
        {
            Scene scene = Scene.Draw(random);
            Assert.Equal(new CaptionScore(1, 0), Caption.Read(new Captioner(0, 0).Describe(scene, random)).Score(scene));
            CaptionScore score = Caption.Read(new Captioner(0.3, 0.2).Describe(scene, random)).Score(scene);
            (wrong, covered) = (wrong + score.Hallucination, covered + score.Coverage);
            (string chosen, string rejected) = new Captioner(0.3, 0.2).Pair(scene, random);
            CaptionScore better = Caption.Read(chosen).Score(scene), worse = Caption.Read(rejected).Score(scene);
            Assert.True(better.Hallucination < worse.Hallucination || (better.Hallucination == worse.Hallucination && better.Coverage > worse.Coverage));
        }
        Assert.InRange(wrong / 300, 0.25, 0.6);
        Assert.InRange(covered / 300, 0.4, 0.7);
    }

    [Fact]
    public void Objects_are_drawn_in_their_cells_and_colours()
    {
        const int Size = 48;
        foreach (Shape shape in Enum.GetValues<Shape>())
            for (int cell = 0; cell < 9; cell++)
            {
                byte[] pixels = new Scene([new SceneObject(Extent.Large, Colour.Red, shape, cell)], cell).Render(Size).Pixels;
                int inside = 0, outside = 0;
                for (int i = 0; i < Size * Size; i++)
                    if (pixels[3 * i] > 150)
                        _ = (i % Size / 16) + (3 * (i / Size / 16)) == cell ? inside++ : outside++;
                Assert.Equal(0, outside);
                Assert.InRange(inside, 60, 220);
            }
        Scene scene = Scene.Draw(new Random(3));
        Assert.Equal(scene.Render(Size).Pixels, scene.Render(Size).Pixels);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(13, 48)]
    public void Written_images_are_read_back(int width, int height)
    {
        byte[] pixels = new byte[width * height * 3];
        new Random(4).NextBytes(pixels);
        RgbImage read = ImageDecoder.Decode(PngWriter.Encode(new RgbImage(width, height, pixels)));
        Assert.Equal((width, height), (read.Width, read.Height));
        Assert.Equal(pixels, read.Pixels);
    }

    [Fact]
    public void A_world_is_the_same_for_the_same_seed_and_says_what_it_holds()
    {
        SceneWorldSettings settings = new() { Pairs = 60, Held = 5, Seed = 7, Size = 24 };
        string one = Path.Combine(folder, "one"), two = Path.Combine(folder, "two"), three = Path.Combine(folder, "three");
        SceneWorld.Write(one, settings);
        SceneWorld.Write(two, settings);
        SceneWorld.Write(three, settings with { Seed = 8 });
        foreach (string name in Directory.EnumerateFiles(one, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(one, file)).Where(name => name != "recipe.yaml")) // which names the folder
            Assert.Equal(File.ReadAllBytes(Path.Combine(one, name)), File.ReadAllBytes(Path.Combine(two, name)));
        Assert.NotEqual(File.ReadAllText(Path.Combine(one, "visual.train.jsonl")), File.ReadAllText(Path.Combine(three, "visual.train.jsonl")));
        JsonElement[] visual = Rows("visual.train.jsonl"), textual = Rows("textual.train.jsonl");
        Assert.All(visual, row => Assert.Equal(24, ImageDecoder.Decode(File.ReadAllBytes(Path.Combine(one, row.GetProperty("image").GetString()!))).Width));
        Assert.Equal(60, visual.Select(row => row.GetProperty("image").GetString()).Distinct().Count());
        Assert.Equal(["list", "turned", "unrelated"], textual.Select(row => row.GetProperty("subset").GetString()!).Distinct().Order(StringComparer.Ordinal));
        foreach (JsonElement row in Rows("caption.train.jsonl"))
        {
            Caption seen = Caption.Read(row.GetProperty("prompt").GetString()!);
            Scene scene = new(seen.Objects, 0);
            Assert.True(Caption.Read(row.GetProperty("chosen").GetString()!).Score(scene).Hallucination <= Caption.Read(row.GetProperty("rejected").GetString()!).Score(scene).Hallucination);
        }
        foreach (JsonElement row in Rows("samples.jsonl"))
        {
            Scene scene = new(Caption.Read(row.GetProperty("caption").GetString()!).Objects, 0);
            Assert.Equal(row.GetProperty("coverage").EnumerateArray().Select(value => value.GetDouble()), row.GetProperty("responses").EnumerateArray().Select(text => Caption.Read(text.GetString()!).Score(scene).Coverage));
        }

        JsonElement[] Rows(string name) => [.. File.ReadLines(Path.Combine(one, name)).Select(line => JsonElement.Parse(line))];
    }

    [Fact]
    public void Caption_pairs_are_turned_around_as_often_as_asked_and_only_where_they_are_learnt_from()
    {
        SceneWorld.Write(folder, new() { Pairs = 300, Held = 50, Seed = 7, Size = 12, CaptionNoise = 0.3 });
        Assert.InRange(Turned("caption.train.jsonl"), 60, 120);
        Assert.Equal(0, Turned("caption.test.jsonl"));

        int Turned(string name)
        {
            int turned = 0;
            foreach (JsonElement row in File.ReadLines(Path.Combine(folder, name)).Select(line => JsonElement.Parse(line)))
            {
                Scene scene = new(Caption.Read(row.GetProperty("prompt").GetString()!).Objects, 0);
                (double Hallucination, double Missing) better = Faults("chosen"), worse = Faults("rejected");
                bool around = row.GetProperty("subset").GetString() == "turned";
                Assert.Equal(around, better.CompareTo(worse) > 0);
                turned += around ? 1 : 0;

                (double Hallucination, double Missing) Faults(string side)
                {
                    CaptionScore score = Caption.Read(row.GetProperty(side).GetString()!).Score(scene);
                    return (score.Hallucination, -score.Coverage);
                }
            }
            return turned;
        }
    }

    [Fact]
    public void The_world_s_words_are_single_tokens_and_its_texts_come_back()
    {
        SceneTokenizer.Write(folder);
        Tokenizer tokenizer = Tokenizer.FromFolder(folder);
        string text = Caption.Of(Scene.Draw(new Random(5))).Write(1);
        int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
        Assert.Equal(text, tokenizer.Decode(ids));
        Assert.Equal(text.Split(' ').Length + text.Count(character => character == '.'), ids.Length);
        Assert.Equal([SceneTokenizer.ImageId], tokenizer.Encode(SceneWorld.ImageToken, addSpecialTokens: false));
        Assert.Equal([SceneTokenizer.EndId], tokenizer.Encode(SceneTokenizer.EndOfText, addSpecialTokens: false));
        Assert.True(ids.Max() < SceneTokenizer.Count);
        Assert.Equal("äß 😀\n", tokenizer.Decode(tokenizer.Encode("äß 😀\n", addSpecialTokens: false)));
    }
}
