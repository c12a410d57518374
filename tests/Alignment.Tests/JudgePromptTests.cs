using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Tests;

public sealed class JudgePromptTests
{
    [Fact]
    public void Texts_stand_in_their_places_and_are_left_as_they_are()
    {
        string text = Assert.Single(new JudgePrompt().Write(Message.Question("Why {answer_a}?"), "one {question}", "two")).Content;
        Assert.Contains("[User Question]\nWhy {answer_a}?\n\n[The Start of Assistant A's Answer]\none {question}\n[The End of Assistant A's Answer]\n\n[The Start of Assistant B's Answer]\ntwo\n[The End", text, StringComparison.Ordinal);
        Assert.EndsWith("\n\n#Preferred:", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Several_turns_name_their_speakers() => Assert.Equal(
        "Q: user: a\n\nassistant: b\n\nuser: c / x / y",
        JudgePrompt.Of("Q: {question} / {answer_a} / {answer_b}").Write([new("user", "a"), new("assistant", "b"), new("user", "c")], "x", "y")[0].Content);

    [Theory]
    [InlineData("{question} {answer_a}")]
    [InlineData("")]
    public void A_frame_without_a_place_is_refused(string template) => Assert.Throws<ArgumentException>(() => JudgePrompt.Of(template));
}
