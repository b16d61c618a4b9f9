//! The store in memory does what every task store must do.

use rpc::a2a::MemoryTaskStore;

macro_rules! in_memory {
    ($($name:ident),+) => {$(
        #[tokio::test]
        async fn $name() {
            task_store_suite::$name(&MemoryTaskStore::default()).await;
        }
    )+};
}

task_store_suite::each_behaviour!(in_memory);
