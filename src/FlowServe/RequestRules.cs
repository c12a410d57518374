using XDeepServe.Models;
using XDeepServe.Models.Images;

namespace XDeepServe.FlowServe;

/// <summary>What requests must be like so that a model and an engine of some settings can serve them. Any thread.</summary>
/// <param name="model">The model.</param>
/// <param name="options">The engine's settings.</param>
/// <param name="positions">Positions that a DP group's cache holds.</param>
public sealed class RequestRules(ModelConfig model, EngineOptions options, long positions)
{
    private readonly bool canGenerate = model.Labels == 0; // a score head stands in place of the output matrix

    /// <summary>Checks a request.</summary>
    /// <returns>Most tokens that it may generate.</returns>
    /// <exception cref="InvalidRequestException">It can never be served as it is.</exception>
    public int Check(GenerationRequest request)
    {
        request.Sampling.Validate(model.VocabularySize, options.MaxLogprobs);
        int maxNew = CheckLength(request);
        CheckReadout(request);
        CheckIds(request.Prompt, "prompt");
        CheckIds(request.Produced, "produced");
        CheckImages(request);
        return maxNew;
    }

    private void CheckReadout(GenerationRequest request)
    {
        if (request.Readout is not { } readout)
        {
            if (!canGenerate)
                throw new InvalidRequestException("This model scores texts; it has no output matrix to generate with. Ask for scores instead.", "model");
            return;
        }
        if (request.Sampling is not { N: 1, MaxTokens: 1, PromptLogprobs: null } || request.Produced.Length > 0 || request.HandOverAfter is not null)
            throw new InvalidRequestException("What is read behind a prompt takes one choice of one token, and nothing beside it.", "max_tokens");
        if (readout.LabelIds is { } ids)
        {
            if (ids.Count is < 1 or > Readout.MaxLabels)
                throw new InvalidRequestException($"Between 1 and {Readout.MaxLabels} label tokens can be read, not {ids.Count}.", "label_token_ids");
            if (!canGenerate)
                throw new InvalidRequestException("This model has no output matrix whose labels could be read; ask for its scores.", "label_token_ids");
            CheckIds([.. ids], "label_token_ids");
        }
        else if (!readout.IsHidden && model.Labels == 0)
        {
            throw new InvalidRequestException("This model has no score head: its config.json names no *ForSequenceClassification architecture. Read label tokens instead.", "model");
        }
    }

    private void CheckIds(int[] ids, string field)
    {
        foreach (int id in ids)
            if ((uint)id >= (uint)model.VocabularySize)
                throw new InvalidRequestException($"The {field} holds token {id}; the vocabulary has {model.VocabularySize}.", field);
    }

    private int CheckLength(GenerationRequest request)
    {
        int length = request.Prompt.Length;
        if (length == 0)
            throw new InvalidRequestException("The prompt is empty; it must have at least one token.", "prompt");
        if (length >= options.MaxModelLength)
            throw new InvalidRequestException($"The prompt has {length} tokens, but the longest context is {options.MaxModelLength}, of which at least one must be left for the answer. Shorten the prompt.", "prompt") { TooLong = true };
        int room = options.MaxModelLength - length;
        if (request.Sampling.MaxTokens > room)
            throw new InvalidRequestException($"The prompt has {length} tokens and max_tokens is {request.Sampling.MaxTokens}, but the longest context is {options.MaxModelLength}. Ask for at most {room}.", "max_tokens") { TooLong = true };
        int maxNew = request.Sampling.MaxTokens ?? room;
        if (request.Produced.Length >= maxNew)
            throw new InvalidRequestException($"{request.Produced.Length} tokens were produced already; at most {maxNew} may be.", "produced");
        if (request.HandOverAfter is < 1)
            throw new InvalidRequestException($"A request can go on elsewhere after at least one token, not {request.HandOverAfter}.", "hand_over_after");
        if (request.Sampling.N > 1 && (request.Produced.Length > 0 || request.HandOverAfter is not null || request.Stream is not null))
            throw new InvalidRequestException("A request that goes on elsewhere has one choice; send each choice on its own.", "n");
        if (length + maxNew - 1 > positions)
            throw new InvalidRequestException($"The prompt has {length} tokens and up to {maxNew} are to follow, but the key-value cache holds {positions} positions. Ask for fewer, or give the cache more memory.", "max_tokens") { TooLong = true };
        return maxNew;
    }

    private void CheckImages(GenerationRequest request)
    {
        if (request.Images.Count > 0 && model.Images is null)
            throw new InvalidRequestException("This model takes text only; leave the images out.", "prompt");
        int from = 0;
        foreach (PromptImage image in request.Images)
        {
            ImageConfig shape = model.Images!;
            if (image.Start < from || image.End > request.Prompt.Length || image.Rows != shape.Rows || image.Pixels.Length != shape.Pixels)
                throw new InvalidRequestException($"An image must take {shape.Rows} tokens of the prompt, not shared with others, and have {shape.Pixels} values.", "prompt");
            from = image.End;
        }
    }
}
