import RocketMQCommands

AllInOneCommand.program.main()
