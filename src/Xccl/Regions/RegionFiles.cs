using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace XDeepServe.Xccl.Regions;

/// <summary>The names of regions below /dev/shm, and what becomes of those whose owners died.</summary>
internal static unsafe partial class RegionFiles
{
    private const string Folder = "/dev/shm";
    private const string Prefix = "xccl-";
    private const int Exists = 17; // EEXIST
    private const UnixFileMode OwnerAlone = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public static string Path(string group, int rank)
    {
        if (!GroupName().IsMatch(group))
            throw new ArgumentException($"'{group}' is no name for a group: use 1 to 64 letters, digits and underscores.");
        return string.Create(CultureInfo.InvariantCulture, $"{Folder}/{Prefix}{group}-{rank}");
    }

    /// <summary>Where a region is made before it takes its rank's name. Carries its maker for <see cref="Sweep"/>.</summary>
    public static string DraftPath(string group, int rank) => DraftPath(Path(group, rank));

    private static string DraftPath(string path)
    {
        ProcessIdentity maker = ProcessIdentity.Own();
        return string.Create(CultureInfo.InvariantCulture, $"{path}.{maker.Id}.{maker.Start}.{maker.Space}.{Guid.NewGuid():N}");
    }

    /// <summary>The process in a draft's name; null where the name is a region's.</summary>
    private static ProcessIdentity? MakerOf(string path)
    {
        string[] parts = System.IO.Path.GetFileName(path).Split('.');
        return parts.Length == 5 && int.TryParse(parts[1], out int id) && ulong.TryParse(parts[2], out ulong start) && ulong.TryParse(parts[3], out ulong space)
            ? new ProcessIdentity(id, start, space)
            : null;
    }

    /// <summary>
    /// Makes a file whose memory is all there: a sparse one would end the process (SIGBUS) in the middle of a copy when the
    /// shared memory runs out.
    /// </summary>
    /// <exception cref="IOException">There is not that much shared memory.</exception>
    public static FileStream OpenNew(string path, long bytes)
    {
        if (OperatingSystem.IsWindows())
            throw NoSharedMemory();
        FileStreamOptions options = new()
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.ReadWrite | FileShare.Delete,
            UnixCreateMode = OwnerAlone,
            PreallocationSize = bytes,
            BufferSize = 0,
        };
        FileStream stream;
        try
        {
            stream = new FileStream(path, options);
        }
        catch (IOException failure) when (!File.Exists(path)) // what could not get its memory is removed again
        {
            long free = new DriveInfo(Folder).AvailableFreeSpace;
            throw new IOException($"A region of {bytes >> 20} MiB does not fit into {Folder}, which has {free >> 20} MiB left: make it larger or the geometry smaller.", failure);
        }
        stream.SetLength(bytes);
        if (FileFacts.Of(stream).Bytes >= bytes)
            return stream;
        stream.Dispose();
        File.Delete(path);
        throw new IOException($"{Folder} cannot reserve memory for a region: mount a tmpfs there.");
    }

    /// <returns>Null if there is no such file.</returns>
    /// <exception cref="IOException">Others than the owner may touch it: it was not made by this library.</exception>
    public static FileStream? TryOpen(string path)
    {
        if (OperatingSystem.IsWindows())
            throw NoSharedMemory();
        try
        {
            FileStream stream = new(path, new FileStreamOptions { Mode = FileMode.Open, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0 });
            // An account that may open every file, as root may, looks whose it is.
            uint owner = FileFacts.Of(stream).OwnerAccount;
            if (owner == FileFacts.OwnAccount && File.GetUnixFileMode(stream.SafeFileHandle) == OwnerAlone)
                return stream;
            stream.Dispose();
            throw owner != FileFacts.OwnAccount ? Foreign(path) : new IOException($"{path} is open to other accounts and was not made by this library: remove it.");
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            throw Foreign(path);
        }
    }

    /// <summary>Gives a finished draft its rank's name, unless a living process has it.</summary>
    public static void Claim(string draft, string path)
    {
        // Creating a second link is atomic and fails where the name exists, unlike a rename.
        while (Link(draft, path) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != Exists)
                throw new IOException($"{path} could not be made: {Marshal.GetPInvokeErrorMessage(error)}.");
            if (OwnerOf(path) is { } owner && owner.IsAlive())
                throw new IOException($"{path} belongs to process {owner.Id}, which is alive{(owner.IsHere ? "" : " (or in another container, where this one cannot look)")}: choose another rank or group, or end that process.");
            Remove(path);
        }
        File.Delete(draft);
    }

    /// <summary>Removes every region and draft of this account whose owner is dead.</summary>
    public static void Sweep()
    {
        foreach (string path in Directory.EnumerateFiles(Folder, Prefix + "*"))
        {
            try
            {
                if ((MakerOf(path) ?? OwnerOf(path)) is { } owner && !owner.IsAlive())
                    Remove(path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                continue; // another account's, or gone meanwhile: none of this one's business
            }
        }
    }

    /// <summary>
    /// Takes a dead owner's file away. Another process may do the same and put its own in place between look and removal; so the
    /// file is first moved aside, looked at again, and put back if it lives.
    /// </summary>
    private static void Remove(string path)
    {
        string aside = DraftPath(path.Split('.')[0]);
        try
        {
            File.Move(path, aside, overwrite: true);
        }
        catch (FileNotFoundException)
        {
            return;
        }
        if (!path.Contains('.', StringComparison.Ordinal) && OwnerOf(aside) is { } owner && owner.IsAlive())
            _ = Link(aside, path);
        File.Delete(aside);
    }

    private static IOException Foreign(string path) => new($"{path} belongs to another account: choose another group name.");

    private static PlatformNotSupportedException NoSharedMemory() => new($"Regions lie in {Folder}, which this system does not have: run on Linux.");

    private static ProcessIdentity? OwnerOf(string path)
    {
        using FileStream? stream = TryOpen(path);
        RegionHeader header;
        if (stream is null || stream.ReadAtLeast(new Span<byte>(&header, RegionHeader.Bytes), RegionHeader.Bytes, throwOnEndOfStream: false) < RegionHeader.Bytes)
            return null;
        return header.Magic == RegionHeader.MagicNumber ? header.Owner : null;
    }

    [GeneratedRegex("^[A-Za-z0-9_]{1,64}$")]
    private static partial Regex GroupName();

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string from, string to);
}
