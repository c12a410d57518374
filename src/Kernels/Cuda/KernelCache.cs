using System.Security.Cryptography;
using System.Text;

namespace XDeepServe.Kernels.Cuda;

/// <summary>Machine code of kernel texts in a folder, by hash of text and architecture. A folder that cannot be used is told once, and costs a compilation at each start.</summary>
/// <param name="folder">The folder; null for none. Made when something is first kept.</param>
/// <param name="warn">Is told what is wrong with the folder; may be null.</param>
internal sealed class KernelCache(string? folder, Action<string>? warn)
{
    private bool warned;

    /// <summary>What a text compiled to before; null if that is not known.</summary>
    /// <param name="file">The text's name.</param>
    /// <param name="text">The text.</param>
    /// <param name="architecture">What it is compiled for.</param>
    public byte[]? Find(string file, string text, string architecture)
    {
        if (folder is null)
            return null;
        string path = PathOf(folder, file, text, architecture);
        try
        {
            return File.Exists(path) ? File.ReadAllBytes(path) : null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Warn(failure);
            return null;
        }
    }

    /// <summary>Writes beside the target and renames, so that another process never reads half a file.</summary>
    public void Keep(string file, string text, string architecture, byte[] image)
    {
        if (folder is null)
            return;
        string path = PathOf(folder, file, text, architecture), draft = $"{path}.{Guid.NewGuid():N}"; // process ids repeat where containers share the folder
        try
        {
            Directory.CreateDirectory(folder);
            try
            {
                File.WriteAllBytes(draft, image);
                File.Move(draft, path, overwrite: true);
            }
            catch
            {
                File.Delete(draft);
                throw;
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Warn(failure);
        }
    }

    private void Warn(Exception failure)
    {
        if (!warned)
            warn?.Invoke($"Compiled kernels are not kept in {folder}: {failure.Message.ReplaceLineEndings(" ")} Every start compiles them again; let the folder be written to.");
        warned = true;
    }

    private static string PathOf(string folder, string file, string text, string architecture)
    {
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{architecture}\n{text}")))[..32];
        return Path.Combine(folder, $"{Path.GetFileNameWithoutExtension(file)}-{architecture}-{hash}.cubin");
    }
}
