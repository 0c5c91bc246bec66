def run_search(config, loader, typed, search):
    print(typed, search, config.hydra.callbacks, config.hydra.sweep.dir)
