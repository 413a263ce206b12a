import { describeConsumer } from './describe-consumer.js';

describeConsumer(12);
