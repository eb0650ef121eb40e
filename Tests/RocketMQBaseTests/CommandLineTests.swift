import RocketMQBase
import Testing

private enum Options {
    static let servers = CommandOption<[String]>("namesrvAddr", "n", value: "HOST:PORT[;…]", "Name servers.")
    static let file = CommandOption<String>("configFile", "c", value: "FILE", "Settings.")
    static let queues = CommandOption<Int>("readQueueNums", "r", value: "N", allowed: "a whole number from 1 to 16", "Queues.") {
        (1...16).contains($0)
    }
    static let show = CommandFlag("printConfigItem", "p", "Print all settings in force, and end.")
    static let important = CommandFlag("printImportantConfig", "m", "Print some.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic.")
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "NAME", "The cluster.")
    static let height = CommandOption<Int>("height", "h", value: "N", "The height.")
}

@Suite struct CommandLineTests {
    private let single = ProgramDeclaration(
        CommandDeclaration(
            "mqbroker", "A broker.", options: [Options.servers, Options.file, Options.queues, Options.show, Options.important]),
        version: "1.2.3")
    private let several = ProgramDeclaration(
        "mqadmin", "Looks after clusters.", version: "1.2.3",
        groups: [
            CommandGroup(
                "Topics",
                [
                    CommandDeclaration(
                        "updateTopic", "Creates or changes a topic.", options: [Options.topic, Options.broker, Options.cluster],
                        exactlyOneOf: [[Options.broker, Options.cluster]]),
                    CommandDeclaration("printMsg", "Prints.", options: [Options.height], operands: "FILE", count: 1...2),
                ])
        ])

    private func arguments(_ words: String..., of program: ProgramDeclaration? = nil) throws -> CommandArguments {
        switch (program ?? single).parse(words) {
        case .run(let arguments): return arguments
        case .answer(let text):
            Issue.record("answered: \(text)")
        case .wrong(let error): throw error
        }
        throw CommandLineError(command: "", "")
    }

    private func message(_ words: String..., of program: ProgramDeclaration? = nil) -> String {
        switch (program ?? single).parse(words) {
        case .run: "run"
        case .answer(let text): text
        case .wrong(let error): error.message
        }
    }

    @Test(arguments: [
        ["-n", "a:1;b:2"], ["-n=a:1;b:2"], ["-na:1;b:2"], ["--namesrvAddr", "a:1;b:2"], ["--namesrvAddr=a:1;b:2"],
        ["-namesrvAddr", "a:1;b:2"],
        ["-n", "x:1", "-n", "a:1;b:2"], ["-pm", "-n", "a:1;b:2"],
    ])
    func `a value is taken in every form`(words: [String]) {
        guard case .run(let arguments) = single.parse(words) else {
            Issue.record("\(words) was not accepted")
            return
        }
        #expect(arguments[Options.servers] == ["a:1", "b:2"])
        #expect(arguments[Options.file] == nil)
        #expect(arguments[Options.show] == words.contains("-pm"))
    }

    @Test func `flags are there or not`() throws {
        #expect(try arguments()[Options.show] == false)
        #expect(try arguments("-p")[Options.show])
        #expect(try arguments("--printConfigItem")[Options.show])
        #expect(try arguments("-p", "--printConfigItem=false")[Options.show] == false)
        let both = try arguments("-mp")
        #expect(both[Options.show] && both[Options.important])
    }

    @Test func `a value may look like a number below zero, or hold an equals sign`() throws {
        #expect(try arguments("printMsg", "-h", "-1", "f", of: several)[Options.height] == -1)
        #expect(try arguments("-c", "a=b")[Options.file] == "a=b")
        #expect(try arguments("-c=a=b")[Options.file] == "a=b")
        #expect(try arguments("-ca=b")[Options.file] == "a=b")
    }

    @Test func `wrong options are named, with the nearest right one`() {
        #expect(message("--namesrvAdr", "a:1") == "unknown option --namesrvAdr; did you mean --namesrvAddr?")
        #expect(message("--zebra") == "unknown option --zebra")
        #expect(message("-z") == "unknown option -z")
        #expect(message("-pz") == "unknown option -z in -pz")
        #expect(message("-n") == "option --namesrvAddr needs a value: -n, --namesrvAddr HOST:PORT[;…]")
        #expect(message("-n", "-p") == "option --namesrvAddr needs a value: -n, --namesrvAddr HOST:PORT[;…]")
        #expect(message("-r", "99") == #"option --readQueueNums must be a whole number from 1 to 16, not "99""#)
        #expect(message("-p=maybe") == #"option --printConfigItem must be true or false, not "maybe""#)
        #expect(message("start") == #""start" is not an option"#)
        #expect(message("--", "-p") == #""-p" is not an option"#)
        guard case .wrong(let error) = single.parse(["-z"]) else { return }
        #expect("\(error)" == "mqbroker: unknown option -z\nTry 'mqbroker --help'.")
    }

    @Test func `help says how to use the program`() {
        let text = message("--help")
        #expect(text == message("-h") && text == message("-z", "--help"))
        #expect(
            text == """
                mqbroker: A broker.

                Usage: mqbroker [OPTIONS]

                Options
                  -n, --namesrvAddr HOST:PORT[;…]  Name servers.
                  -c, --configFile FILE            Settings.
                  -r, --readQueueNums N            Queues.
                  -p, --printConfigItem            Print all settings in force, and end.
                  -m, --printImportantConfig       Print some.
                  -h, --help                       Show this text.
                      --version                    Show the version.

                """)
        #expect(message("--version") == "mqbroker 1.2.3\n")
    }

    @Test func `a program of several commands`() throws {
        let arguments = try arguments("updateTopic", "-t", "T", "-c", "DefaultCluster", of: several)
        #expect(arguments.command == "updateTopic")
        #expect(try arguments.required(Options.topic) == "T")
        #expect(arguments[Options.cluster] == "DefaultCluster")
        #expect(throws: CommandLineError.self) { try arguments.required(Options.broker) }
        #expect(message("updateTopics", of: several) == "unknown command updateTopics; did you mean updateTopic?")
        #expect(message("-t", "T", of: several) == "a command must come before the options; -t is none")
        #expect(message("updateTopic", "-c", "C", of: several) == "option --topic is missing: -t, --topic TOPIC")
        #expect(message("updateTopic", "-t", "T", of: several) == "one of --brokerAddr, --clusterName is missing")
        #expect(
            message("updateTopic", "-t", "T", "-c", "C", "-b", "a:1", of: several) == "only one of --brokerAddr, --clusterName can be given"
        )
    }

    @Test func `help of a program of several commands`() {
        let all = message(of: several)
        #expect(all == message("--help", of: several) && all == message("help", of: several))
        #expect(all.contains("Topics\n  updateTopic  Creates or changes a topic.\n"))
        let one = message("updateTopic", "--help", of: several)
        #expect(one == message("help", "updateTopic", of: several))
        #expect(one.contains("Usage: mqadmin updateTopic -t TOPIC (-b HOST:PORT | -c NAME) [OPTIONS]\n"))
        #expect(message("help", "updatTopic", of: several) == "unknown command updatTopic; did you mean updateTopic?")
        #expect(message("--version", of: several) == "mqadmin 1.2.3\n")
    }

    @Test func `-h belongs to the command that declares it`() throws {
        #expect(try arguments("printMsg", "-h", "5", "f", of: several)[Options.height] == 5)
        #expect(message("printMsg", "--help", of: several).contains("      --help"))
    }

    @Test func `words without a dash are counted`() throws {
        #expect(try arguments("printMsg", "a", "--", "-b", of: several).operands == ["a", "-b"])
        #expect(message("printMsg", of: several) == "FILE is missing")
        #expect(message("printMsg", "a", "b", "c", of: several) == #""c" is one word too many"#)
    }

    @Test func `texts are wrapped`() {
        let long = CommandFlag("x", nil, Array(repeating: "word", count: 60).joined(separator: " "))
        let text = ProgramDeclaration(CommandDeclaration("p", "s", options: [long]), version: "1").help
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 })
        #expect(text.components(of: "word") == 60)
    }
}
