import RocketMQBase
import RocketMQSystem

/// A program that runs servers in the foreground: `-c FILE` names its settings, `-p` prints them, SIGTERM and Ctrl-C end it.
///
/// Exit codes: 0 after an orderly stop, 1 when it cannot start or what it has cannot be stored as it stops, 2 for a wrong
/// command line.
public struct ServerProgram: Sendable {
    /// What a server is given to run with.
    public struct Context: Sendable {
        public var arguments: CommandArguments
        /// All values set, checked, and paths expanded.
        public var settings: SettingsValues
        /// The file of `-c`, `nil` when the settings are the built-in ones.
        public var settingsFile: String?
        public var clock: any SystemClock
        public var fileSystem: any FileSystem
        public var log: Logger
        /// For those whose start may take long.
        public var interruption: StartInterruption
    }

    /// A server that has started.
    public struct Running {
        /// What to say of it: `listens on 0.0.0.0:9876`.
        public var summary: String
        /// Stops it in good order; returns when all is done, with what went wrong.
        public var stop: () -> StopFailure?

        public init(summary: String, stop: @escaping () -> StopFailure?) {
            self.summary = summary
            self.stop = stop
        }
    }

    public let command: CommandDeclaration
    public let schema: SettingsSchema
    /// Whether it may have so many objects in memory that large pages pay.
    private let usesLargePages: Bool
    /// Carries options of the command line into the settings, over what the file says.
    public let applyOptions: @Sendable (CommandArguments, inout SettingsValues) throws(SettingsFinding) -> Void
    /// Starts the server; throws why it cannot, in words for the one who started it.
    public let start: @Sendable (Context) throws(StartFailure) -> Running

    /// - Parameters:
    ///   - options: those beside `-c`, `-p`, help and version.
    ///   - notes: lines for the end of the help.
    public init(
        _ name: String, _ summary: String, schema: SettingsSchema, options: [any CommandOptionDeclaration] = [], notes: String = "",
        usesLargePages: Bool = false,
        applyOptions: @escaping @Sendable (CommandArguments, inout SettingsValues) throws(SettingsFinding) -> Void = { _, _ in },
        start: @escaping @Sendable (Context) throws(StartFailure) -> Running
    ) {
        command = CommandDeclaration(name, summary, options: options + [Self.configurationFile, Self.printSettings], notes: notes)
        self.schema = schema
        self.usesLargePages = usesLargePages
        self.applyOptions = applyOptions
        self.start = start
    }

    public static let configurationFile = CommandOption<String>(
        "configFile", "c", value: "FILE", "Settings to start with, a key=value a line.")
    public static let printSettings = CommandFlag("printConfigItem", "p", "Print all settings in force and end.")

    /// With fewer it serves few clients, and with less than the least it could not store what it has.
    private static let wantedOpenFiles = 1024
    private static let leastOpenFiles = 96

    /// Runs the program to its end. Call it first of all in `main`, on the main thread.
    public func main() -> Never {
        Signals.prepare()
        CurrentProcess.exit(run(CurrentProcess.arguments))
    }

    private func run(_ words: [String]) -> Int32 {
        switch ProgramDeclaration(command, version: ProductVersion.text).parse(words) {
        case .answer(let text):
            Console.write(text)
            return 0
        case .wrong(let error):
            Console.complain(error.description)
            return 2
        case .run(let arguments):
            return run(arguments)
        }
    }

    private func run(_ arguments: CommandArguments) -> Int32 {
        let loaded = LoadedSettings(schema, arguments: arguments, fileSystem: LinuxFileSystem(), applyOptions: applyOptions)
        let mustNotStart = loaded.findings.contains { $0.severity == .error }
        if mustNotStart || arguments[Self.printSettings] {
            for finding in loaded.findings { Console.complain("\(command.name): \(finding)") }
            if mustNotStart { return 1 }
            Console.write(loaded.values.propertiesText(.explained))
            return 0
        }
        return serve(arguments, loaded)
    }

    private func serve(_ arguments: CommandArguments, _ loaded: LoadedSettings) -> Int32 {
        // Before there is anything that would be lost.
        if usesLargePages { CurrentProcess.useLargePages() }
        let sink = StandardErrorSink()
        defer { sink.stop() }
        let clock = LinuxClock()
        let threshold = LogThreshold(loaded.values[CommonSettings.logLevel])
        let log = Logger(component: command.name, threshold: threshold, sink: sink, clock: clock)
        for finding in loaded.findings {
            let level: LogLevel = finding.severity == .notice ? .info : .warning
            if log.isOn(level) { log.write(level, finding.description) }
        }
        let limit = CurrentProcess.raiseOpenFileLimit()
        if limit < Self.wantedOpenFiles {
            let advice = "raise the limit of open files (ulimit -n, LimitNOFILE of systemd) to \(Self.wantedOpenFiles) or more"
            guard limit >= Self.leastOpenFiles else {
                log.error("this process may have \(limit) files open, and \(Self.leastOpenFiles) are the least that it needs: \(advice)")
                return 1
            }
            log.warning(
                "this process may have only \(limit) files open: it takes some \(CurrentProcess.connections(within: limit)) connections, less its "
                    + "own files, and turns others away; \(advice)")
        }
        let context = Context(
            arguments: arguments, settings: loaded.values, settingsFile: loaded.file, clock: clock, fileSystem: LinuxFileSystem(), log: log,
            interruption: StartInterruption { Signals.pendingTermination != nil })
        let running: Running
        do throws(StartFailure) { running = try start(context) } catch {
            if context.interruption.wasHeeded, let signal = Signals.pendingTermination {
                log.info("stopped by \(signal) before it had started: \(error)")
                return 0
            }
            log.error(error.description)
            return 1
        }
        let source = loaded.file.map { "settings from \($0)" } ?? "built-in settings (-c FILE names others, -p prints them)"
        // Written whatever the level: whoever starts a server wants to know where it is.
        log.write(.info, "\(command.name) \(ProductVersion.text) \(running.summary), \(source)")
        let signal = Signals.waitForTermination()
        log.info("stopping: \(signal)")
        let failure = running.stop()
        log.reportLeftOut(all: true)
        guard let failure else {
            log.info("stopped")
            return 0
        }
        log.error("stopped, not cleanly: \(failure)")
        return 1
    }
}
